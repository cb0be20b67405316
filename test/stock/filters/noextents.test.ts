/** The genuine noextents filter: a sparse disk looks allocated. */
import { stock } from "../stock.ts";

const script = `
show ([h.can_meta_context ("base:allocation"), extents (1048576, 0), extents (4096, 65535)])
h.pwrite (b"x", 524288)
h.trim (131072, 0)
show ([extents (1048576, 0), extents (1048576, 0, nbd.CMD_FLAG_REQ_ONE), extents (2, 1048574)])
show (errno (lambda: extents (2, 1048575)))
`;

stock("noextents reports one data extent before and after writes and trims", {
  filters: ["noextents"],
  plugin: "memory",
  params: () => ["1M"],
  see: script,
  expected: [
    [true, "1048576 data", "4096 data"],
    ["1048576 data", "1048576 data", "2 data"],
    "EINVAL",
  ],
});

stock("noextents hides the extents of filters below it, but not of those above it", {
  filters: ["extentlist", "noextents", "offset"],
  plugin: "data",
  before: (folder) => Bun.write(`${folder}/list`, "0 64K hole,zero\n128K 1M zero\n"),
  params: (folder) => ["@1048576 1 @2097152", "offset=1M", `extentlist=${folder}/list`],
  see: "show ([h.get_size (), extents (1048576, 0)])",
  expected: [1048576, "131072 hole+zero, 917504 zero"],
});

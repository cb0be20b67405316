/** The genuine checkwrite filter: it accepts writes only of the data that the disk already has. */
import { copiesOntoItself } from "../cases.ts";
import { stock } from "../stock.ts";

const common = {
  filters: ["checkwrite"],
  plugin: "data",
  params: () => ["data=@32768 1*32768 @98304 2*100", "size=131072"],
};

stock("checkwrite accepts only the data that the disk already has", {
  ...common,
  see: `
show ([h.get_size (), flags ()])
show ([errno (lambda: h.pwrite (data, offset)) for data, offset in (
    (bytes (32768), 0), (bytes ([1] * 32768), 32768), (bytes ([0, 1]), 32767), (bytes ([1, 1]), 32767),
    (bytes ([2] * 100), 98304), (bytes ([2] * 101), 98304))])
show (errnos (lambda: h.pwrite (bytes ([1]), 32768, nbd.CMD_FLAG_FUA), h.flush))
show ([errno (lambda: h.zero (count, offset, flags)) for count, offset, flags in (
    (32768, 0, 0), (32769, 0, 0), (98304 - 65536, 65536, nbd.CMD_FLAG_NO_HOLE), (4096, 98304, nbd.CMD_FLAG_FAST_ZERO))])
show ([errno (lambda: h.trim (count, offset)) for count, offset in ((65536, 0), (32768, 65536), (10, 98404))])
show (extents (131072, 0))
show (h.pread (4, 32766))
`,
  expected: [
    [131072, "flush fua trim zero fast_zero multi_conn cache df"],
    [null, null, null, "EIO", null, "EIO"],
    [null, null],
    [null, "EIO", null, "ENOTSUP"],
    ["EIO", null, null],
    "32768 hole+zero, 32768 data, 32768 hole+zero, 32768 data",
    "00000101",
  ],
});

copiesOntoItself("checkwrite lets nbdcopy copy the disk onto itself", common, ["--allocated"]);

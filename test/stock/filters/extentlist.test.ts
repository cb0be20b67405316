/** The genuine extentlist filter: a file lists the extents. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { refuses } from "../cases.ts";
import { stock } from "../stock.ts";

const params = (folder: string) => ["1M", `extentlist=${join(folder, "list")}`];

stock("extentlist reports the extents of its file", {
  options: ["-r"],
  filters: ["extentlist"],
  plugin: "pattern",
  before: (folder) =>
    writeFileSync(join(folder, "list"), "512K 64K\n0 64K\n64K 4K zero\n68K 4K hole\n72K 4K 3\n"),
  params,
  see: `
show (extents (1048576, 0))
show ([extents (10, 4), extents (4096, 65536 - 10), extents (65536, 524288 - 1, nbd.CMD_FLAG_REQ_ONE)])
show (h.pread (8, 73728))
`,
  expected: [
    "65536 data, 4096 zero, 4096 hole, 450560 hole+zero, 65536 data, 458752 hole+zero",
    ["65532 data", "10 data, 4096 zero", "1 hole+zero"],
    "0000000000012000",
  ],
});

refuses("extentlist refuses extents that overlap", {
  options: ["-r"],
  filters: ["extentlist"],
  plugin: "pattern",
  before: (folder) => writeFileSync(join(folder, "list"), "0 64K\n4K 4K hole\n"),
  params,
  error: "extents in the extent list are overlapping",
});

/** The genuine extentlist filter: a file says where the data is. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { captive, nbdsh, ran, stock, stockCommand } from "../stock.ts";

const params = (folder: string) => ["1M", `extentlist=${join(folder, "list")}`];

stock("extentlist tells the extents of its file", {
  options: ["-r"],
  filters: ["extentlist"],
  plugin: "pattern",
  before: (folder) =>
    writeFileSync(join(folder, "list"), "512K 64K\n0 64K\n64K 4K zero\n68K 4K hole\n72K 4K 3\n"),
  params,
  see: ({ server }) =>
    nbdsh(
      server,
      `
show (extents (1048576, 0))
show ([extents (10, 4), extents (4096, 65536 - 10), extents (65536, 524288 - 1, nbd.CMD_FLAG_REQ_ONE)])
show (h.pread (8, 73728))
`,
    ),
  expected: [
    [
      [65536, 0],
      [4096, 2],
      [4096, 1],
      [450560, 3],
      [65536, 0],
      [458752, 3],
    ],
    [
      [[65532, 0]],
      [
        [10, 0],
        [4096, 2],
      ],
      [[1, 3]],
    ],
    "0000000000012000",
  ],
});

stockCommand("extentlist refuses extents that overlap", {
  options: (folder) => ["-r", ...captive(folder)],
  filters: ["extentlist"],
  plugin: "pattern",
  before: (folder) => writeFileSync(join(folder, "list"), "0 64K\n4K 4K hole\n"),
  params,
  see: ran,
  expected: { code: 1, errors: ["nbdkit: error: extents in the extent list are overlapping"] },
});

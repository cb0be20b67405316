/** The genuine ddrescue filter: only ranges that a map file lists as recovered can be read. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { refuses } from "../cases.ts";
import { stock } from "../stock.ts";

const map = `# Mapfile. Created by GNU ddrescue version 1.23
# Command line: ddrescue -d /dev/sda disk disk.map
# current_pos  current_status  current_pass
0x00010000     +               1
#      pos        size  status
0x00000000  0x00004000  +
0x00004000  0x00000200  -
0x00004200  0x00003e00  +
0x00008000  0x00004000  ?
0x0000C000  0x00004000  +
`;

stock("ddrescue reads recovered ranges only", {
  filters: ["ddrescue"],
  plugin: "pattern",
  before: (folder) => writeFileSync(join(folder, "map"), map),
  params: (folder) => ["65536", `ddrescue-mapfile=${join(folder, "map")}`],
  see: `
show ([h.get_size (), flags ()])
show ([errno (lambda: h.pread (count, offset)) for count, offset in (
    (16384, 0), (16385, 0), (1, 16384), (1, 16895), (1, 16896), (0x3e00, 0x4200), (1, 0x8000), (512, 0xbf00), (1, 0xbfff),
    (0x4000, 0xc000))])
show (h.pread (8, 0x4200))
show (errno (lambda: h.pwrite (b"x", 0)))
`,
  expected: [
    [65536, "read_only multi_conn df"],
    [null, "EIO", "EIO", "EIO", null, null, "EIO", "EIO", "EIO", null],
    "0000000000004200",
    "EPERM",
  ],
});

refuses("ddrescue refuses a missing map", {
  filters: ["ddrescue"],
  plugin: "pattern",
  params: (folder) => ["65536", `ddrescue-mapfile=${join(folder, "map")}`],
  error: "FOLDER/map: ddrescue: fopen: No such file or directory",
});

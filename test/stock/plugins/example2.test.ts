/** The genuine example2 plugin: a file, read-only. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { nbdsh, ran, stock, stockCommand } from "../stock.ts";

stock("example2 serves a file read-only", {
  plugin: "example2",
  params: (folder) => [`file=${join(folder, "disk")}`],
  before: (folder) => {
    writeFileSync(join(folder, "disk"), "0123456789".repeat(100));
  },
  see: ({ server }) =>
    nbdsh(
      server,
      "show ([h.get_size (), h.pread (12, 988), errno (lambda: h.pread (1, 1000)), errno (lambda: h.pwrite (b'x', 0)), flags ()])",
    ),
  expected: [
    1000,
    "383930313233343536373839",
    "EINVAL",
    "EPERM",
    {
      is_read_only: true,
      can_flush: false,
      can_fua: false,
      is_rotational: false,
      can_trim: false,
      can_zero: false,
      can_fast_zero: false,
      can_multi_conn: false,
      can_cache: false,
      can_df: true,
    },
  ],
});

stockCommand("example2 wants its file", {
  plugin: "example2",
  see: ran,
  expected: {
    code: 1,
    errors: [
      "nbdkit: error: you must supply the file=<FILENAME> parameter after the plugin name on the command line",
    ],
  },
});

stockCommand("example2 wants a file that is there", {
  plugin: "example2",
  params: (folder) => [`file=${join(folder, "missing")}`],
  see: ran,
  expected: {
    code: 1,
    errors: ["nbdkit: error: realpath: FOLDER/missing: No such file or directory"],
  },
});

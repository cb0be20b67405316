/** The genuine example2 plugin: it serves a file read-only. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { refuses } from "../cases.ts";
import { stock } from "../stock.ts";

stock("example2 serves a file read-only", {
  plugin: "example2",
  params: (folder) => [`file=${join(folder, "disk")}`],
  before: (folder) => {
    writeFileSync(join(folder, "disk"), "0123456789".repeat(100));
  },
  see: "show ([h.get_size (), h.pread (12, 988), errno (lambda: h.pread (1, 1000)), errno (lambda: h.pwrite (b'x', 0)), flags ()])",
  expected: [1000, "383930313233343536373839", "EINVAL", "EPERM", "read_only df"],
});

refuses("example2 requires file=", {
  plugin: "example2",
  error: "you must supply the file=<FILENAME> parameter after the plugin name on the command line",
});

refuses("example2 refuses a missing file", {
  plugin: "example2",
  params: (folder) => [`file=${join(folder, "missing")}`],
  error: "realpath: FOLDER/missing: No such file or directory",
});

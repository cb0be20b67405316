/** The genuine gzip filter: it serves a .gz file unpacked. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

import { refusesClients } from "../cases.ts";
import { ownTmp, stock } from "../stock.ts";

/** 300000 bytes of lines, each with its own offset. */
const text = Array.from({ length: 37_500 }, (_, line) => String(line * 8).padStart(7, "0"))
  .map((line) => `${line}\n`)
  .join("");
const params = (folder: string) => [join(folder, "disk.gz")];

stock("gzip serves the unpacked data", {
  filters: ["gzip"],
  plugin: "file",
  before: (folder) => writeFileSync(join(folder, "disk.gz"), gzipSync(text)),
  params,
  env: ownTmp,
  see: `
show ([h.get_size (), flags ()])
show ([h.pread (8, 299992).decode (), h.pread (10, 65530).decode (), h.pread (300000, 0).count (b"\\n")])
show ([errno (lambda: h.pwrite (b"x", 0)), client ().pread (4, 8).decode ()])
show (extents (300000, 0))
`,
  expected: [
    [300000, "read_only flush multi_conn cache df"],
    ["0299992\n", "65528\n0065", 37500],
    ["EPERM", "0000"],
    "300000 data",
  ],
});

stock("gzip serves the first of several concatenated files", {
  filters: ["gzip"],
  plugin: "file",
  before: (folder) =>
    writeFileSync(join(folder, "disk.gz"), Buffer.concat([gzipSync("first"), gzipSync("second")])),
  params,
  env: ownTmp,
  see: "show ([h.get_size (), h.pread (h.get_size (), 0).decode ()])",
  expected: [5, "first"],
});

refusesClients("gzip refuses clients if the file is truncated", {
  filters: ["gzip"],
  plugin: "file",
  before: (folder) => writeFileSync(join(folder, "disk.gz"), gzipSync(text).subarray(0, -100)),
  params,
  env: ownTmp,
  error: "gzip: inflate: unknown error: -5",
});

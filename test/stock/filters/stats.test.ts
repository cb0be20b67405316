/** The genuine stats filter: it writes statistics to a file at the end. */
import { readFileSync, writeFileSync } from "node:fs";

import { nbdsh, type Side, stock } from "../stock.ts";

const script = `
for at in range (0, 65536, 4096):
    h.pread (4096, at)
h.pread (3, 1)
h.pread (1048576, 0)
h.pwrite (bytes (512), 512)
h.pwrite (bytes (65536), 65536)
h.zero (131072, 0)
h.zero (4096, 4096)
h.trim (4096, 131072)
h.flush ()
h.flush ()
h.cache (8192, 8192)
extents (65536, 0)
other = client ()
other.pread (512, 0)
other.shutdown ()
`;

/** The lines of the file after the server's end, without times and rates. */
async function statistics({ server, folder }: Side): Promise<unknown> {
  await nbdsh(server, script);
  await server.stop();
  const text = readFileSync(`${folder}/stats`, "utf8");
  return text
    .replace(/\d+\.\d+ s,/g, "TIME,")
    .replace(/([\d.]+ \w+|\(n\/a\))\/s/g, "RATE")
    .split("\n");
}

stock("stats counts operations, bytes, sizes and alignments", {
  filters: ["stats"],
  plugin: "memory",
  params: (folder) => ["1M", `statsfile=${folder}/stats`],
  see: statistics,
  expected: [
    "total: 27 ops, TIME, 1.26 MiB, RATE",
    "read: 19 ops, TIME, 1.06 MiB, RATE op, RATE total",
    "  Request size and alignment breakdown:",
    "    12 bits: 84.2% (16 reqs, 64.00 KiB total)",
    "         12 bit aligned: 100.0% (16)",
    "         13 bit aligned:  50.0% (8)",
    "         14 bit aligned:  25.0% (4)",
    "         15 bit aligned:  12.5% (2)",
    "     1 bits:  5.3% (1 reqs, 3 bytes total)",
    "          0 bit aligned: 100.0% (1)",
    "",
    "write: 2 ops, TIME, 64.50 KiB, RATE op, RATE total",
    "  Request size and alignment breakdown:",
    "     9 bits: 50.0% (1 reqs, 512 bytes total)",
    "          9 bit aligned: 100.0% (1)",
    "",
    "trim: 1 ops, TIME, 4.00 KiB, RATE op, RATE total",
    "  Request size and alignment breakdown:",
    "    other sizes: 100.0% (1 reqs, 4.00 KiB total)",
    "",
    "zero: 2 ops, TIME, 132.00 KiB, RATE op, RATE total",
    "  Request size and alignment breakdown:",
    "    17 bits: 50.0% (1 reqs, 128.00 KiB total)",
    "",
    "extents: 1 ops, TIME, 64.00 KiB, RATE op, RATE total",
    "  Request size and alignment breakdown:",
    "    other sizes: 100.0% (1 reqs, 64.00 KiB total)",
    "",
    "cache: 1 ops, TIME, 8.00 KiB, RATE op, RATE total",
    "  Request size and alignment breakdown:",
    "    other sizes: 100.0% (1 reqs, 8.00 KiB total)",
    "",
    "flush: 2 ops, TIME, 0 bytes, RATE op, RATE total",
    "",
  ],
});

stock("stats appends to its file with statsappend, and has no breakdown with statsthreshold=0", {
  filters: ["stats"],
  plugin: "memory",
  before: (folder) => writeFileSync(`${folder}/stats`, "first line\n"),
  params: (folder) => ["1M", `statsfile=${folder}/stats`, "statsappend=true", "statsthreshold=0"],
  see: statistics,
  expected: [
    "first line",
    "total: 27 ops, TIME, 1.26 MiB, RATE",
    "read: 19 ops, TIME, 1.06 MiB, RATE op, RATE total",
    "write: 2 ops, TIME, 64.50 KiB, RATE op, RATE total",
    "trim: 1 ops, TIME, 4.00 KiB, RATE op, RATE total",
    "zero: 2 ops, TIME, 132.00 KiB, RATE op, RATE total",
    "extents: 1 ops, TIME, 64.00 KiB, RATE op, RATE total",
    "cache: 1 ops, TIME, 8.00 KiB, RATE op, RATE total",
    "flush: 2 ops, TIME, 0 bytes, RATE op, RATE total",
    "",
  ],
});

stock("stats counts the requests of the filter above it", {
  filters: ["blocksize", "stats"],
  plugin: "memory",
  params: (folder) => [
    "1M",
    `statsfile=${folder}/stats`,
    "statsthreshold=100",
    "maxdata=64K",
    "minblock=4K",
  ],
  see: statistics,
  expected: [
    "total: 43 ops, TIME, 1.27 MiB, RATE",
    "read: 35 ops, TIME, 1.07 MiB, RATE op, RATE total",
    "  Request size and alignment breakdown:",
    "    12 bits: 54.3% (19 reqs, 76.00 KiB total)",
    "         12 bit aligned: 100.0% (19)",
    "         13 bit aligned:  57.9% (11)",
    "         14 bit aligned:  36.8% (7)",
    "         15 bit aligned:  26.3% (5)",
    "    16 bits: 45.7% (16 reqs, 1.00 MiB total)",
    "         16 bit aligned: 100.0% (16)",
    "         17 bit aligned:  50.0% (8)",
    "         18 bit aligned:  25.0% (4)",
    "         19 bit aligned:  12.5% (2)",
    "",
    "write: 2 ops, TIME, 68.00 KiB, RATE op, RATE total",
    "  Request size and alignment breakdown:",
    "    12 bits: 50.0% (1 reqs, 4.00 KiB total)",
    "",
    "trim: 1 ops, TIME, 4.00 KiB, RATE op, RATE total",
    "  Request size and alignment breakdown:",
    "    12 bits: 100.0% (1 reqs, 4.00 KiB total)",
    "         17 bit aligned: 100.0% (1)",
    "",
    "zero: 2 ops, TIME, 132.00 KiB, RATE op, RATE total",
    "  Request size and alignment breakdown:",
    "    17 bits: 50.0% (1 reqs, 128.00 KiB total)",
    "",
    "extents: 1 ops, TIME, 64.00 KiB, RATE op, RATE total",
    "  Request size and alignment breakdown:",
    "    16 bits: 100.0% (1 reqs, 64.00 KiB total)",
    "",
    "cache: 1 ops, TIME, 8.00 KiB, RATE op, RATE total",
    "  Request size and alignment breakdown:",
    "    13 bits: 100.0% (1 reqs, 8.00 KiB total)",
    "         13 bit aligned: 100.0% (1)",
    "",
    "flush: 2 ops, TIME, 0 bytes, RATE op, RATE total",
    "",
  ],
});

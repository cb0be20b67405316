/** The genuine rate filter: it limits the bandwidth. */
import { renameSync, writeFileSync } from "node:fs";

import { nbdsh, stock } from "../stock.ts";

// 32M is 4 MiB a second after a free burst. The zero request would take minutes.
stock("rate limits reads and writes of all connections together, but not zeros", {
  filters: ["rate"],
  plugin: "memory",
  params: () => ["1G", "rate=32M", "burstiness=0.02"],
  see: `
other = client ()
def reads ():
    h.pread (200000, 0)
    other.pread (200000, 0)
show ([took (reads) >= 0.07, took (lambda: h.pwrite (bytes (250000), 0)) >= 0.035,
       errnos (lambda: h.zero (1 << 30, 0), lambda: h.trim (1 << 30, 0))])
`,
  expected: [true, true, [null, null]],
});

stock("rate limits each connection after a free burst", {
  filters: ["rate"],
  plugin: "memory",
  params: () => ["16M", "connection-rate=80K"],
  see: `
def reads ():
    show ([len (c.pread (20000, 0)) for c in (h, client (), client ())])
    h.pread (2000, 0)
show (took (reads) >= 0.1)
`,
  expected: [[20000, 20000, 20000], true],
});

stock("rate adopts a new rate from rate-file", {
  filters: ["rate"],
  plugin: "memory",
  before: (folder) => writeFileSync(`${folder}/rate`, "1\n"),
  params: (folder) => ["16M", "rate=100G", `rate-file=${folder}/rate`],
  see: async ({ server, folder }) => {
    // At one bit a second this would take three months.
    writeFileSync(`${folder}/new`, "100G\n");
    renameSync(`${folder}/new`, `${folder}/rate`);
    return nbdsh(server, "show (len (h.pread (1000000, 0)))");
  },
  expected: 1000000,
});

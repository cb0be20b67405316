/** The genuine offset filter: it serves a range of the disk. */
import { refusesClients } from "../cases.ts";
import { stock } from "../stock.ts";

stock("offset serves a range, and nothing beyond it", {
  filters: ["offset"],
  plugin: "pattern",
  params: () => ["size=1M", "offset=512", "range=64K"],
  see: "show ([h.get_size (), h.pread (16, 0), h.pread (8, 65528), errno (lambda: h.pread (9, 65528))])",
  expected: [65536, "00000000000002000000000000000208", "00000000000101f8", "EINVAL"],
});

stock("offset adds the offset to all requests, and subtracts it from extents", {
  filters: ["offset"],
  plugin: "memory",
  params: () => ["1M", "offset=128K"],
  see: `
h.pwrite (b"x" * 98304, 65536)
show (extents (917504, 0))
h.zero (32768, 65536)
h.trim (32768, 131072)
show (extents (917504, 0))
h.zero (32768, 98304, nbd.CMD_FLAG_NO_HOLE)
show ([h.get_size (), extents (917504, 0), bytes (h.pread (4, 163838)), errno (h.flush),
       errno (lambda: h.cache (4096, 913408)), errno (lambda: h.cache (4096, 913409)),
       errno (lambda: h.pwrite (b"xx", 917503)), flags ()])
`,
  expected: [
    "65536 hole+zero, 98304 data, 753664 hole+zero",
    "98304 hole+zero, 32768 data, 786432 hole+zero",
    [
      917504,
      "917504 hole+zero",
      "00000000",
      null,
      null,
      "EINVAL",
      "ENOSPC",
      "flush fua trim zero fast_zero multi_conn cache df",
    ],
  ],
});

for (const [what, params, message] of [
  ["an offset", ["offset=1025K"], "offset (1049600) is larger than the real size (1048576)"],
  [
    "a range",
    ["offset=1M", "range=1"],
    "offset+range (1048576+1) is larger than the real size (1048576)",
  ],
] as const)
  refusesClients(`offset refuses clients if ${what} lies beyond the end`, {
    filters: ["offset"],
    plugin: "memory",
    params: () => ["1M", ...params],
    error: `${message} of the underlying file or device`,
  });

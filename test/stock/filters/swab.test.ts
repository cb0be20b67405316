/** The genuine swab filter: it swaps the bytes of words. */
import { stock } from "../stock.ts";

for (const [bits, size, seen] of [
  [8, 4099, "000000000000010000000000000001080000000000000110"],
  [16, 4098, "000000000000000100000000000008010000000000001001"],
  [32, 4096, "000000000001000000000000080100000000000010010000"],
  [64, 4096, "000100000000000008010000000000001001000000000000"],
] as const)
  stock(`swab swaps words of ${bits} bits`, {
    filters: ["swab"],
    plugin: "pattern",
    params: () => ["size=4099", `swab-bits=${bits}`],
    see: `show ([h.get_size (), h.pread (24, 256)])`,
    expected: [size, seen],
  });

stock("swab swaps written data, and refuses unaligned requests", {
  filters: ["swab"],
  plugin: "data",
  params: () => ["(0 1 2 3 4 5 6 7)*1024", "size=64K", "swab-bits=32"],
  see: `
h.pwrite (b"abcdefgh", 8)
show ([h.pread (8, 0), str (h.pread (8, 8), "ascii")])
show (errnos (lambda: h.pread (4, 2), lambda: h.pread (2, 4), lambda: h.pwrite (b"12", 4),
       lambda: h.zero (6, 4), lambda: h.trim (4, 7), lambda: h.cache (5, 4),
       lambda: extents (6, 0), h.flush))
h.zero (4, 4)
h.trim (4, 12)
show ([h.pread (16, 0), extents (65536, 0), errno (lambda: h.cache (4, 4)), flags (),
       block_sizes ()])
`,
  expected: [
    ["0302010007060504", "abcdefgh"],
    ["EINVAL", "EINVAL", "EINVAL", "EINVAL", "EINVAL", "EINVAL", "EINVAL", null],
    [
      "03020100000000006162636400000000",
      "32768 data, 32768 hole+zero",
      null,
      "flush fua trim zero fast_zero multi_conn cache df",
      [4, 512, 4294967295],
    ],
  ],
});

stock("swab above swab restores the data", {
  filters: ["swab", "swab"],
  plugin: "pattern",
  params: () => ["size=4096", "swab-bits=64"],
  see: "show (h.pread (16, 256))",
  expected: "00000000000001000000000000000108",
});

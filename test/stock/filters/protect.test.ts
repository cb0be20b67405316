/** The genuine protect filter: writes must not change protected ranges. */
import { stock, withErrors } from "../stock.ts";

// No zero or trim begins before a protected range and reaches into it: the filter of 1.32.5 would read a buffer, which
// these requests lack, and crash nbdkit.
const script = `
show (errnos (lambda: h.pwrite (b"x", 999), lambda: h.pwrite (b"x", 1000), lambda: h.pwrite (b"x", 1999),
             lambda: h.pwrite (b"x", 2000), lambda: h.pwrite (b"a" * 1000, 1000), lambda: h.pwrite (b"xa", 999),
             lambda: h.pwrite (b"xb", 999), lambda: h.pwrite (b"ax", 1999)))
show (errnos (lambda: h.zero (1000, 1000), lambda: h.zero (100, 900), lambda: h.zero (2000, 3000),
             lambda: h.trim (500, 1500), lambda: h.trim (512, 3000),
             h.flush, lambda: h.cache (4096, 0)))
data = h.pread (8192, 0)
show ([data.count (b"a"), data.count (b"x"), [at for at in range (8192) if data[at:at+1] == b"x"], data.count (b"\\0")])
show (flags ())
`;

/** The errors of `count` requests that were refused because of a range. */
const refusals = (count: number, range: string): string[] =>
  Array(count).fill(
    `nbdkit: data: error: protect filter prevented write to protected range ${range}`,
  );

function protects(title: string, ranges: readonly string[], expected: unknown): void {
  stock(title, {
    filters: ["protect"],
    plugin: "data",
    params: () => ["(97)*8192", ...ranges.map((range) => `protect=${range}`)],
    see: (side) => withErrors(side, script),
    expected,
  });
}

protects(
  "protect refuses changes to a range",
  ["1000-1999"],
  [
    [
      [null, "EPERM", "EPERM", null, null, null, "EPERM", null],
      ["EPERM", null, null, "EPERM", null, null, null],
      [6091, 1, [2000], 2100],
      "flush fua trim zero fast_zero multi_conn cache df",
    ],
    refusals(5, "1000-1999"),
  ],
);
protects(
  "protect refuses changes to all but a range",
  ["~0x3e8-1999"],
  [
    [
      ["EPERM", null, null, "EPERM", null, "EPERM", "EPERM", "EPERM"],
      [null, "EPERM", "EPERM", null, "EPERM", null, null],
      [7192, 0, [], 1000],
      "flush fua trim zero fast_zero multi_conn cache df",
    ],
    refusals(8, "~0x3e8-1999"),
  ],
);
protects(
  "protect refuses changes to several ranges with open ends",
  ["-01747", "1000-1500", "1400-1999", "5000-"],
  [
    [
      ["EPERM", "EPERM", "EPERM", null, null, "EPERM", "EPERM", null],
      ["EPERM", "EPERM", null, "EPERM", null, null, null],
      [6191, 1, [2000], 2000],
      "flush fua trim zero fast_zero multi_conn cache df",
    ],
    refusals(8, "-01747"),
  ],
);

/** The genuine protect filter: parts of the disk may only be written with what they hold. */
import { errors, nbdsh, stock } from "../stock.ts";

// Left out are zeros and trims that begin before a protected range and reach into it: the filter of 1.32.5 passes over
// the buffer that such requests do not have, and crashes nbdkit.
const script = `
def tries (*calls):
    return [errno (call) for call in calls]
show (tries (lambda: h.pwrite (b"x", 999), lambda: h.pwrite (b"x", 1000), lambda: h.pwrite (b"x", 1999),
             lambda: h.pwrite (b"x", 2000), lambda: h.pwrite (b"a" * 1000, 1000), lambda: h.pwrite (b"xa", 999),
             lambda: h.pwrite (b"xb", 999), lambda: h.pwrite (b"ax", 1999)))
show (tries (lambda: h.zero (1000, 1000), lambda: h.zero (100, 900), lambda: h.zero (2000, 3000),
             lambda: h.trim (500, 1500), lambda: h.trim (512, 3000),
             lambda: h.flush (), lambda: h.cache (4096, 0)))
data = h.pread (8192, 0)
show ([data.count (b"a"), data.count (b"x"), [at for at in range (8192) if data[at:at+1] == b"x"], data.count (b"\\0")])
show (flags ())
`;

function protects(title: string, ranges: readonly string[], expected: unknown): void {
  stock(title, {
    filters: ["protect"],
    plugin: "data",
    params: () => ["(97)*8192", ...ranges.map((range) => `protect=${range}`)],
    see: async ({ server, folder }) => [
      await nbdsh(server, script),
      errors(server.stderr(), folder),
    ],
    expected,
  });
}

protects(
  "protect keeps a range as it is",
  ["1000-1999"],
  [
    [
      [null, "EPERM", "EPERM", null, null, null, "EPERM", null],
      ["EPERM", null, null, "EPERM", null, null, null],
      [6091, 1, [2000], 2100],
      {
        is_read_only: false,
        can_flush: true,
        can_fua: true,
        is_rotational: false,
        can_trim: true,
        can_zero: true,
        can_fast_zero: true,
        can_multi_conn: true,
        can_cache: true,
        can_df: true,
      },
    ],
    [
      "nbdkit: data: error: protect filter prevented write to protected range 1000-1999",
      "nbdkit: data: error: protect filter prevented write to protected range 1000-1999",
      "nbdkit: data: error: protect filter prevented write to protected range 1000-1999",
      "nbdkit: data: error: protect filter prevented write to protected range 1000-1999",
      "nbdkit: data: error: protect filter prevented write to protected range 1000-1999",
    ],
  ],
);
protects(
  "protect keeps all but a range as it is",
  ["~0x3e8-1999"],
  [
    [
      ["EPERM", null, null, "EPERM", null, "EPERM", "EPERM", "EPERM"],
      [null, "EPERM", "EPERM", null, "EPERM", null, null],
      [7192, 0, [], 1000],
      {
        is_read_only: false,
        can_flush: true,
        can_fua: true,
        is_rotational: false,
        can_trim: true,
        can_zero: true,
        can_fast_zero: true,
        can_multi_conn: true,
        can_cache: true,
        can_df: true,
      },
    ],
    [
      "nbdkit: data: error: protect filter prevented write to protected range ~0x3e8-1999",
      "nbdkit: data: error: protect filter prevented write to protected range ~0x3e8-1999",
      "nbdkit: data: error: protect filter prevented write to protected range ~0x3e8-1999",
      "nbdkit: data: error: protect filter prevented write to protected range ~0x3e8-1999",
      "nbdkit: data: error: protect filter prevented write to protected range ~0x3e8-1999",
      "nbdkit: data: error: protect filter prevented write to protected range ~0x3e8-1999",
      "nbdkit: data: error: protect filter prevented write to protected range ~0x3e8-1999",
      "nbdkit: data: error: protect filter prevented write to protected range ~0x3e8-1999",
    ],
  ],
);
protects(
  "protect keeps several ranges with open ends",
  ["-01747", "1000-1500", "1400-1999", "5000-"],
  [
    [
      ["EPERM", "EPERM", "EPERM", null, null, "EPERM", "EPERM", null],
      ["EPERM", "EPERM", null, "EPERM", null, null, null],
      [6191, 1, [2000], 2000],
      {
        is_read_only: false,
        can_flush: true,
        can_fua: true,
        is_rotational: false,
        can_trim: true,
        can_zero: true,
        can_fast_zero: true,
        can_multi_conn: true,
        can_cache: true,
        can_df: true,
      },
    ],
    [
      "nbdkit: data: error: protect filter prevented write to protected range -01747",
      "nbdkit: data: error: protect filter prevented write to protected range -01747",
      "nbdkit: data: error: protect filter prevented write to protected range -01747",
      "nbdkit: data: error: protect filter prevented write to protected range -01747",
      "nbdkit: data: error: protect filter prevented write to protected range -01747",
      "nbdkit: data: error: protect filter prevented write to protected range -01747",
      "nbdkit: data: error: protect filter prevented write to protected range -01747",
      "nbdkit: data: error: protect filter prevented write to protected range -01747",
    ],
  ],
);

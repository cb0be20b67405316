/** The genuine zero plugin: a disk of no bytes. */
import { nbdsh, stock } from "../stock.ts";

stock("zero has no bytes", {
  plugin: "zero",
  see: ({ server }) =>
    nbdsh(
      server,
      "show ([h.get_size (), errno (lambda: h.pread (1, 0)), errno (lambda: h.pwrite (b'x', 0)), flags ()])",
    ),
  expected: [
    0,
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
      can_multi_conn: true,
      can_cache: true,
      can_df: true,
    },
  ],
});

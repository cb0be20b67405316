/** The genuine full plugin: a disk that has no room left. */
import { nbdsh, stock } from "../stock.ts";

stock("full reads zeros and refuses all changes with ENOSPC", {
  plugin: "full",
  params: () => ["size=64K"],
  see: ({ server }) =>
    nbdsh(
      server,
      `
show (flags ())
show ([h.get_size (), h.pread (8, 65528), extents (65536, 0)])
show ([
  errno (lambda: h.pwrite (b"x", 0)),
  errno (lambda: h.pwrite (b"x", 0, nbd.CMD_FLAG_FUA)),
  errno (lambda: h.zero (512, 0)),
  errno (lambda: h.zero (512, 0, nbd.CMD_FLAG_FAST_ZERO)),
  errno (lambda: h.trim (512, 0)),
  errno (lambda: h.flush ()),
  errno (lambda: h.pread (1, 65536)),
])
`,
    ),
  expected: [
    {
      is_read_only: false,
      can_flush: false,
      can_fua: false,
      is_rotational: false,
      can_trim: true,
      can_zero: true,
      can_fast_zero: true,
      can_multi_conn: true,
      can_cache: true,
      can_df: true,
    },
    [65536, "0000000000000000", [[65536, 3]]],
    ["ENOSPC", "EINVAL", "ENOSPC", "ENOTSUP", "ENOSPC", "EINVAL", "EINVAL"],
  ],
});

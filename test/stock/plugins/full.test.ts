/** The genuine full plugin: it serves a full disk. */
import { stock } from "../stock.ts";

stock("full reads zeros and refuses all changes with ENOSPC", {
  plugin: "full",
  params: () => ["size=64K"],
  see: `
show (flags ())
show ([h.get_size (), h.pread (8, 65528), extents (65536, 0)])
show (errnos (
  lambda: h.pwrite (b"x", 0),
  lambda: h.pwrite (b"x", 0, nbd.CMD_FLAG_FUA),
  lambda: h.zero (512, 0),
  lambda: h.zero (512, 0, nbd.CMD_FLAG_FAST_ZERO),
  lambda: h.trim (512, 0),
  h.flush,
  lambda: h.pread (1, 65536),
))
`,
  expected: [
    "trim zero fast_zero multi_conn cache df",
    [65536, "0000000000000000", "65536 hole+zero"],
    ["ENOSPC", "EINVAL", "ENOSPC", "ENOTSUP", "ENOSPC", "EINVAL", "EINVAL"],
  ],
});

/** The genuine example3 plugin: each connection has a disk of its own. */
import { nbdsh, ran, stock, stockCommand } from "../stock.ts";

stock("example3 gives each connection an empty disk", {
  plugin: "example3",
  params: () => ["size=1M"],
  see: ({ server }) =>
    nbdsh(
      server,
      `
h.pwrite (b"mine", 1048572, nbd.CMD_FLAG_FUA)
h.flush ()
h.zero (2, 1048572)
second = client ()
show ([h.get_size (), h.pread (6, 1048570), second.pread (6, 1048570), extents (1048576, 0)])
show (flags ())
show ([errno (lambda: h.pread (1, 1048576)), errno (lambda: h.pwrite (b"xx", 1048575)), errno (lambda: h.trim (512, 0))])
`,
    ),
  expected: [
    [1048576, "000000006e65", "000000000000", [[1048576, 0]]],
    {
      is_read_only: false,
      can_flush: true,
      can_fua: true,
      is_rotational: false,
      can_trim: false,
      can_zero: true,
      can_fast_zero: true,
      can_multi_conn: false,
      can_cache: false,
      can_df: true,
    },
    ["EINVAL", "ENOSPC", "EINVAL"],
  ],
});

stock("example3 has 100M by default", {
  plugin: "example3",
  see: ({ server }) => nbdsh(server, "show ([h.get_size (), h.pread (4, 104857596)])"),
  expected: [104857600, "00000000"],
});

stockCommand("example3 refuses a size that is none", {
  plugin: "example3",
  params: () => ["size=1Q"],
  see: ran,
  expected: { code: 1, errors: ["nbdkit: error: could not parse size: unknown suffix 'Q'"] },
  differs: {
    why: "ours names the value, and the suffixes that it takes",
    expected: {
      code: 1,
      errors: [
        "nbdkit: error: could not parse size string (1Q): the suffix may be one of b, k, m, g, t, p, e, s",
      ],
    },
  },
});

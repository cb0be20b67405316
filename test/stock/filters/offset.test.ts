/** The genuine offset filter: a range of the disk. */
import { errors, nbdsh, stock } from "../stock.ts";

stock("offset serves a range, and nothing beyond it", {
  filters: ["offset"],
  plugin: "pattern",
  params: () => ["size=1M", "offset=512", "range=64K"],
  see: ({ server }) =>
    nbdsh(
      server,
      "show ([h.get_size (), h.pread (16, 0), h.pread (8, 65528), errno (lambda: h.pread (9, 65528))])",
    ),
  expected: [65536, "00000000000002000000000000000208", "00000000000101f8", "EINVAL"],
});

stock("offset moves all requests, and the extents back", {
  filters: ["offset"],
  plugin: "memory",
  params: () => ["1M", "offset=128K"],
  see: ({ server }) =>
    nbdsh(
      server,
      `
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
    ),
  expected: [
    [
      [65536, 3],
      [98304, 0],
      [753664, 3],
    ],
    [
      [98304, 3],
      [32768, 0],
      [786432, 3],
    ],
    [
      917504,
      [[917504, 3]],
      "00000000",
      null,
      null,
      "EINVAL",
      "ENOSPC",
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
  stock(`offset refuses clients when ${what} lies beyond the end`, {
    filters: ["offset"],
    plugin: "memory",
    params: () => ["1M", ...params],
    see: async ({ server, folder }) => [
      await nbdsh(server, "show (errno (lambda: h.connect_uri (uri)))", null),
      errors(server.stderr(), folder),
    ],
    expected: ["ENOENT", [`nbdkit: memory: error: ${message} of the underlying file or device`]],
  });

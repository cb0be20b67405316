/** The genuine example1 plugin: a small table of partitions, and zeros after it. */
import { nbdsh, stock, stockCommand } from "../stock.ts";
import { dumped } from "./dumped.ts";

stock("example1 serves its partition table read-only", {
  plugin: "example1",
  see: ({ server }) =>
    nbdsh(
      server,
      `
show ([h.get_size (), h.pread (66, 446), h.pread (4, 104857596), extents (65536, 0)])
show (flags ())
show ([errno (lambda: h.pwrite (b"x", 0)), errno (lambda: h.zero (512, 0)), errno (lambda: h.pread (2, 104857599))])
`,
    ),
  expected: [
    [
      104857600,
      "0002030083bc310c80000000011f030000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000055aa",
      "00000000",
      [[65536, 0]],
    ],
    {
      is_read_only: true,
      can_flush: false,
      can_fua: false,
      is_rotational: false,
      can_trim: false,
      can_zero: false,
      can_fast_zero: false,
      can_multi_conn: false,
      can_cache: false,
      can_df: true,
    },
    ["EPERM", "EPERM", "EINVAL"],
  ],
});

stockCommand("example1 tells what it has", {
  options: ["--dump-plugin"],
  plugin: "example1",
  see: dumped,
  expected: {
    code: 0,
    lines: [
      "name=example1",
      "version=1.32.5",
      "api_version=2",
      "struct_size=384",
      "max_thread_model=serialize_all_requests",
      "thread_model=serialize_all_requests",
      "errno_is_preserved=0",
      "has_load=1",
      "has_open=1",
      "has_get_size=1",
      "has_pread=1",
    ],
  },
});

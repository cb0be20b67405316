/** The genuine nofilter filter: everything passes. */
import { nbdsh, stock } from "../stock.ts";

stock("nofilter passes everything on", {
  filters: ["nofilter"],
  plugin: "pattern",
  params: () => ["size=1M"],
  see: ({ server }) => nbdsh(server, "show ([h.get_size (), h.pread (16, 4096), flags ()])"),
  expected: [
    1048576,
    "00000000000010000000000000001008",
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

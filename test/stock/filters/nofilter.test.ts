/** The genuine nofilter filter: it passes everything on. */
import { stock } from "../stock.ts";

stock("nofilter passes everything on", {
  filters: ["nofilter"],
  plugin: "pattern",
  params: () => ["size=1M"],
  see: "show ([h.get_size (), h.pread (16, 4096), flags ()])",
  expected: [1048576, "00000000000010000000000000001008", "read_only multi_conn cache df"],
});

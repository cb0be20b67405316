/** The genuine zero plugin: it serves a disk of size 0. */
import { stock } from "../stock.ts";

stock("zero serves an empty disk", {
  plugin: "zero",
  see: "show ([h.get_size (), errno (lambda: h.pread (1, 0)), errno (lambda: h.pwrite (b'x', 0)), flags ()])",
  expected: [0, "EINVAL", "EPERM", "read_only multi_conn cache df"],
});

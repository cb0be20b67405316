/** The genuine zero plugin: a disk of no bytes. */
import { stock } from "../stock.ts";

stock("zero has no bytes", {
  plugin: "zero",
  see: "show ([h.get_size (), errno (lambda: h.pread (1, 0)), errno (lambda: h.pwrite (b'x', 0)), flags ()])",
  expected: [0, "EINVAL", "EPERM", "read_only multi_conn cache df"],
});

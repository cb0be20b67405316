/** The genuine pattern plugin: every 8 bytes contain their offset. */
import { stock } from "../stock.ts";

stock("pattern serves its offsets and nothing beyond the end", {
  plugin: "pattern",
  params: () => ["size=4097"],
  see: "show ([h.get_size (), h.pread (9, 4088), errno (lambda: h.pread (1, 4097)), errno (lambda: h.pwrite (b'x', 0))])",
  expected: [4097, "0000000000000ff800", "EINVAL", "EPERM"],
});

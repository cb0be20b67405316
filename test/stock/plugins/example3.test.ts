/** The genuine example3 plugin: each connection has its own disk. */
import { refuses } from "../cases.ts";
import { stock } from "../stock.ts";

stock("example3 gives each connection an empty disk", {
  plugin: "example3",
  params: () => ["size=1M"],
  see: `
h.pwrite (b"mine", 1048572, nbd.CMD_FLAG_FUA)
h.flush ()
h.zero (2, 1048572)
second = client ()
show ([h.get_size (), h.pread (6, 1048570), second.pread (6, 1048570), extents (1048576, 0)])
show (flags ())
show (errnos (lambda: h.pread (1, 1048576), lambda: h.pwrite (b"xx", 1048575), lambda: h.trim (512, 0)))
`,
  expected: [
    [1048576, "000000006e65", "000000000000", "1048576 data"],
    "flush fua zero fast_zero df",
    ["EINVAL", "ENOSPC", "EINVAL"],
  ],
});

stock("example3 serves 100M by default", {
  plugin: "example3",
  see: "show ([h.get_size (), h.pread (4, 104857596)])",
  expected: [104857600, "00000000"],
});

refuses("example3 refuses an invalid size", {
  plugin: "example3",
  params: () => ["size=1Q"],
  error: "could not parse size: unknown suffix 'Q'",
  differs: {
    why: "ours names the value, and the suffixes that are accepted",
    error:
      "could not parse size: unknown suffix: Q: expected one of b, k, m, g, t, p, e, s at the end of 1Q",
  },
});

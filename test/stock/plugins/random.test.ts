/** The genuine random plugin: it serves data from a seed. */
import { copiesOntoItself } from "../cases.ts";
import { stock } from "../stock.ts";

stock("random serves the data of its seed, and checks writes", {
  plugin: "random",
  params: () => ["size=1M", "seed=42"],
  see: `
disk = h.pread (1048576, 0)
show ([h.get_size (), disk[:16], disk[777777:777785], sha256 (disk)])
show ([h.pread (8, 777777), client ().pread (8, 777777)])
h.pwrite (disk[1000:70000], 1000)
show (errno (lambda: h.flush ()))
show ([errno (lambda: h.pwrite (b"no", 0)), errno (lambda: h.zero (512, 0)), extents (1048576, 0)])
show (flags ())
`,
  expected: [
    [
      1048576,
      "a16730e21cb6f8750dc6ae014f2a46e4",
      "daafceddd88b0c46",
      "95de5c69ffcb5979eade6fcff57f11dffc677db71ff135da56c745563792b9f0",
    ],
    ["daafceddd88b0c46", "daafceddd88b0c46"],
    "EINVAL",
    ["EIO", "EIO", "1048576 data"],
    "trim zero multi_conn cache df",
  ],
});

copiesOntoItself("random accepts a copy of itself", {
  plugin: "random",
  params: () => ["2M"],
});

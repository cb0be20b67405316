/** The genuine sparse-random plugin: it serves runs of data and holes from a seed. */
import { copiesOntoItself, refuses } from "../cases.ts";
import { stock } from "../stock.ts";

stock("sparse-random serves the runs of its seed, and checks writes", {
  plugin: "sparse-random",
  params: () => ["size=4M", "seed=7", "runlength=131072", "percent=30"],
  see: `
disk = h.pread (h.get_size (), 0)
show ([h.get_size (), sha256 (disk)])
show (extents (h.get_size (), 0))
start = 532480
show (disk[start - 2:start + 6])
h.pwrite (disk, 0)
show (errnos (lambda: h.pwrite (b"no", start), lambda: h.zero (512, start), lambda: h.trim (512, start)))
show (flags ())
`,
  expected: [
    [4194304, "e9ecec9ffc82ffa47b7b45bb877c2112bb2bec3ef95318fcea98f2eeeb530e3a"],
    "532480 hole+zero, 184320 data, 221184 hole+zero, 61440 data, 118784 hole+zero, " +
      "126976 data, 217088 hole+zero, 163840 data, 65536 hole+zero, 73728 data, " +
      "610304 hole+zero, 8192 data, 53248 hole+zero, 73728 data, 847872 hole+zero, " +
      "65536 data, 176128 hole+zero, 45056 data, 385024 hole+zero, 36864 data, " +
      "126976 hole+zero",
    "0000626262626262",
    ["EIO", "EIO", "EIO"],
    "flush fua trim zero multi_conn cache df",
  ],
});

stock("sparse-random fills its runs with random bytes", {
  plugin: "sparse-random",
  params: () => ["1M", "seed=3", "percent=100", "random-content=true"],
  see: `
disk = h.pread (1048576, 0)
show ([disk[:16], sha256 (disk), extents (1048576, 0)])
`,
  expected: [
    "c0ee51ea0a8356e6d9d4ec492f88ecd1",
    "ea473596c07b0292effe15782decf25365249705da045850871b1a2dc9106846",
    "1048576 data",
  ],
});

copiesOntoItself("sparse-random accepts a copy of itself", {
  plugin: "sparse-random",
  params: () => ["size=8M", "runlength=65536", "percent=20"],
});

refuses("sparse-random refuses more than 100 percent", {
  plugin: "sparse-random",
  params: () => ["1M", "percent=101"],
  error: "cannot parse percent parameter: 101",
});

/** The genuine sparse-random plugin: runs of data from a seed, and holes. */
import { run } from "#test/server";

import { nbdsh, ran, stock, stockCommand } from "../stock.ts";

stock("sparse-random serves the runs of its seed, and checks what is written", {
  plugin: "sparse-random",
  params: () => ["size=4M", "seed=7", "runlength=131072", "percent=30"],
  see: ({ server }) =>
    nbdsh(
      server,
      `
import hashlib
disk = h.pread (h.get_size (), 0)
show ([h.get_size (), hashlib.sha256 (disk).hexdigest ()])
map = extents (h.get_size (), 0)
show (map)
start = map[0][0] if map[0][1] else 0
show (disk[start - 2:start + 6])
h.pwrite (disk, 0)
show ([errno (lambda: h.pwrite (b"no", start)), errno (lambda: h.zero (512, start)), errno (lambda: h.trim (512, start))])
show (flags ())
`,
    ),
  expected: [
    [4194304, "e9ecec9ffc82ffa47b7b45bb877c2112bb2bec3ef95318fcea98f2eeeb530e3a"],
    [
      [532480, 3],
      [184320, 0],
      [221184, 3],
      [61440, 0],
      [118784, 3],
      [126976, 0],
      [217088, 3],
      [163840, 0],
      [65536, 3],
      [73728, 0],
      [610304, 3],
      [8192, 0],
      [53248, 3],
      [73728, 0],
      [847872, 3],
      [65536, 0],
      [176128, 3],
      [45056, 0],
      [385024, 3],
      [36864, 0],
      [126976, 3],
    ],
    "0000626262626262",
    ["EIO", "EIO", "EIO"],
    {
      is_read_only: false,
      can_flush: true,
      can_fua: true,
      is_rotational: false,
      can_trim: true,
      can_zero: true,
      can_fast_zero: false,
      can_multi_conn: true,
      can_cache: true,
      can_df: true,
    },
  ],
});

stock("sparse-random fills its runs with random bytes", {
  plugin: "sparse-random",
  params: () => ["1M", "seed=3", "percent=100", "random-content=true"],
  see: ({ server }) =>
    nbdsh(
      server,
      `
import hashlib
disk = h.pread (1048576, 0)
show ([disk[:16], hashlib.sha256 (disk).hexdigest (), extents (1048576, 0)])
`,
    ),
  expected: [
    "c0ee51ea0a8356e6d9d4ec492f88ecd1",
    "ea473596c07b0292effe15782decf25365249705da045850871b1a2dc9106846",
    [[1048576, 0]],
  ],
});

stock("sparse-random can be copied onto itself", {
  plugin: "sparse-random",
  params: () => ["size=8M", "runlength=65536", "percent=20"],
  needs: ["nbdcopy"],
  see: async ({ server }) => {
    const { code, stderr } = await run(["nbdcopy", server.uri, server.uri]);
    return { code, stderr };
  },
  expected: { code: 0, stderr: "" },
});

stockCommand("sparse-random refuses more than all", {
  plugin: "sparse-random",
  params: () => ["1M", "percent=101"],
  see: ran,
  expected: { code: 1, errors: ["nbdkit: error: cannot parse percent parameter: 101"] },
});

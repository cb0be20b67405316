/** The genuine truncate filter: the disk gets another size. */
import { errors, nbdsh, stock } from "../stock.ts";

const script = `
size = h.get_size ()
def tries (*calls):
    return [errno (call) for call in calls]
def all_extents ():
    found, at = [], 0
    while at < size:
        found += extents (size - at, at)
        at = sum ([length for length, kind in found])
    return found
show ([size, bytes (h.pread (8, size - 8)), all_extents (), errno (lambda: h.pread (1, size))])
show (tries (lambda: h.pwrite (bytes (100), size - 100), lambda: h.pwrite (b"x" * 100, size - 100),
             lambda: h.zero (1000, size - 1000), lambda: h.trim (1000, size - 1000),
             lambda: h.cache (1000, size - 1000), lambda: h.flush (), lambda: h.pwrite (b"x", 0)))
show ([all_extents (), bytes (h.pread (1, 0)), bytes (h.pread (8, size - 104))])
`;

function truncates(title: string, params: readonly string[], expected: unknown): void {
  stock(title, {
    filters: ["truncate"],
    plugin: "data",
    // 100,000 bytes with a hole between.
    params: () => ["(1 2 3 4)*1024 @99992 8 7 6 5 4 3 2 1", ...params],
    see: async ({ server, folder }) => [
      await nbdsh(server, script),
      errors(server.stderr(), folder).filter((line) => line.includes("truncate")),
    ],
    expected,
  });
}

truncates(
  "truncate cuts the end off with truncate=",
  ["truncate=4098"],
  [
    [
      [4098, "0304010203040000", [[4098, 0]], "EINVAL"],
      [null, null, null, null, null, null, null],
      [[[4098, 0]], "78", "0000000000000000"],
    ],
    [],
  ],
);
truncates(
  "truncate adds zeros at the end with truncate=",
  ["truncate=256K"],
  [
    [
      [
        262144,
        "0000000000000000",
        [
          [32768, 0],
          [65536, 3],
          [1696, 0],
          [162144, 3],
        ],
        "EINVAL",
      ],
      [null, "ENOSPC", null, null, null, null, null],
      [
        [
          [32768, 0],
          [65536, 3],
          [1696, 0],
          [162144, 3],
        ],
        "78",
        "0000000000000000",
      ],
    ],
    ["nbdkit: data: error: truncate: write beyond end of underlying device"],
  ],
);
truncates(
  "truncate rounds up",
  ["round-up=4096"],
  [
    [
      [
        102400,
        "0000000000000000",
        [
          [32768, 0],
          [65536, 3],
          [1696, 0],
          [2400, 3],
        ],
        "EINVAL",
      ],
      [null, "ENOSPC", null, null, null, null, null],
      [
        [
          [32768, 0],
          [65536, 3],
          [1696, 0],
          [2400, 3],
        ],
        "78",
        "0000000000000000",
      ],
    ],
    ["nbdkit: data: error: truncate: write beyond end of underlying device"],
  ],
);
truncates(
  "truncate rounds down",
  ["round-down=64K"],
  [
    [
      [
        65536,
        "0000000000000000",
        [
          [32768, 0],
          [32768, 3],
        ],
        "EINVAL",
      ],
      [null, null, null, null, null, null, null],
      [
        [
          [32768, 0],
          [32768, 3],
        ],
        "78",
        "0000000000000000",
      ],
    ],
    [],
  ],
);
truncates(
  "truncate rounds a size up that it was told",
  ["truncate=70001", "round-up=512"],
  [
    [
      [
        70144,
        "0000000000000000",
        [
          [32768, 0],
          [37376, 3],
        ],
        "EINVAL",
      ],
      [null, null, null, null, null, null, null],
      [
        [
          [32768, 0],
          [37376, 3],
        ],
        "78",
        "0000000000000000",
      ],
    ],
    [],
  ],
);
truncates(
  "truncate changes nothing without parameters",
  [],
  [
    [
      [
        100000,
        "0807060504030201",
        [
          [32768, 0],
          [65536, 3],
          [1696, 0],
        ],
        "EINVAL",
      ],
      [null, null, null, null, null, null, null],
      [
        [
          [32768, 0],
          [67232, 3],
        ],
        "78",
        "0000000000000000",
      ],
    ],
    [],
  ],
);

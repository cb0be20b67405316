/** The genuine truncate filter: it changes the size of the disk. */
import { stock, withErrors } from "../stock.ts";

const script = `
size = h.get_size ()
show ([size, bytes (h.pread (8, size - 8)), all_extents (size), errno (lambda: h.pread (1, size))])
show (errnos (lambda: h.pwrite (bytes (100), size - 100), lambda: h.pwrite (b"x" * 100, size - 100),
             lambda: h.zero (1000, size - 1000), lambda: h.trim (1000, size - 1000),
             lambda: h.cache (1000, size - 1000), h.flush, lambda: h.pwrite (b"x", 0)))
show ([all_extents (size), bytes (h.pread (1, 0)), bytes (h.pread (8, size - 104))])
`;

interface Cut {
  readonly size: number;
  /** The last 8 bytes. */
  readonly end?: string;
  readonly extents: string;
  /** The extents after zeros and trims. */
  readonly after?: string;
  /** Whether the disk ends beyond the plugin's, where only zeros may be written. */
  readonly beyond?: boolean;
}

const zeros = "0000000000000000";

function truncates(title: string, params: readonly string[], cut: Cut): void {
  const { size, end = zeros, extents, after = extents, beyond = false } = cut;
  stock(title, {
    filters: ["truncate"],
    plugin: "data",
    // 100,000 bytes with a hole between.
    params: () => ["(1 2 3 4)*1024 @99992 8 7 6 5 4 3 2 1", ...params],
    see: async (side) => {
      const [seen, errors] = await withErrors(side, script);
      return [seen, errors.filter((line) => line.includes("truncate"))];
    },
    expected: [
      [
        [size, end, extents, "EINVAL"],
        [null, beyond ? "ENOSPC" : null, null, null, null, null, null],
        [after, "78", zeros],
      ],
      beyond ? ["nbdkit: data: error: truncate: write beyond end of underlying device"] : [],
    ],
  });
}

truncates("truncate cuts the end off with truncate=", ["truncate=4098"], {
  size: 4098,
  end: "0304010203040000",
  extents: "4098 data",
});
truncates("truncate adds zeros at the end with truncate=", ["truncate=256K"], {
  size: 262_144,
  extents: "32768 data, 65536 hole+zero, 1696 data, 162144 hole+zero",
  beyond: true,
});
truncates("truncate rounds up", ["round-up=4096"], {
  size: 102_400,
  extents: "32768 data, 65536 hole+zero, 1696 data, 2400 hole+zero",
  beyond: true,
});
truncates("truncate rounds down", ["round-down=64K"], {
  size: 65_536,
  extents: "32768 data, 32768 hole+zero",
});
truncates("truncate rounds up the size of truncate=", ["truncate=70001", "round-up=512"], {
  size: 70_144,
  extents: "32768 data, 37376 hole+zero",
});
truncates("truncate changes nothing without parameters", [], {
  size: 100_000,
  end: "0807060504030201",
  extents: "32768 data, 65536 hole+zero, 1696 data",
  after: "32768 data, 67232 hole+zero",
});

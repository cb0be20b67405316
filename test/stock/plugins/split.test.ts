/** The genuine split plugin: several files in a row. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { nbdsh, ran, stock, stockCommand } from "../stock.ts";

const names = ["first", "second", "third"];

// Release 1.32.5 writes to the second file at the offset in the disk, so what is written there makes it longer.
stock("split serves its files as one disk, and takes writes over their borders", {
  plugin: "split",
  params: (folder) => names.map((name) => join(folder, name)),
  before: (folder) => {
    for (const [at, name] of names.entries()) {
      writeFileSync(join(folder, name), name.at(0)?.repeat(1000 * (at + 1)) ?? "");
    }
  },
  see: async ({ server, folder }) => [
    await nbdsh(
      server,
      `
show ([h.get_size (), h.pread (6, 997), h.pread (6, 2997), extents (6000, 0)])
h.pwrite (b"-" * 2004, 998)
h.zero (2, 5998)
show (errno (lambda: h.flush ()))
show ([errno (lambda: h.pread (2, 5999)), errno (lambda: h.trim (512, 0))])
show (flags ())
`,
    ),
    names.map((name) => {
      const text = readFileSync(join(folder, name), "latin1");
      return [text.length, text.slice(0, 4), text.slice(-4)];
    }),
  ],
  expected: [
    [
      [6000, "666666737373", "737373747474", [[6000, 0]]],
      "EINVAL",
      ["EINVAL", "EINVAL"],
      {
        is_read_only: false,
        can_flush: false,
        can_fua: false,
        is_rotational: false,
        can_trim: false,
        can_zero: true,
        can_fast_zero: true,
        can_multi_conn: false,
        can_cache: true,
        can_df: true,
      },
    ],
    [
      [1000, "ffff", "ff--"],
      [3000, "ssss", "----"],
      [6000, "tttt", "\u0000\u0000\u0000\u0000"],
    ],
  ],
});

stock("split tells the holes of its files", {
  options: ["-r"],
  plugin: "split",
  params: (folder) => names.map((name) => `file=${join(folder, name)}`),
  before: async (folder) => {
    for (const name of names) {
      await Bun.$`truncate -s 65536 ${join(folder, name)}`;
      writeFileSync(join(folder, name), "x", { flag: "r+" });
    }
  },
  see: ({ server }) => nbdsh(server, "show ([extents (196608, 0), flags ()])"),
  expected: [
    [
      [4096, 0],
      [61440, 3],
      [4096, 0],
      [61440, 3],
      [4096, 0],
      [61440, 3],
    ],
    {
      is_read_only: true,
      can_flush: false,
      can_fua: false,
      is_rotational: false,
      can_trim: false,
      can_zero: false,
      can_fast_zero: false,
      can_multi_conn: false,
      can_cache: true,
      can_df: true,
    },
  ],
});

stockCommand("split wants a file that is there", {
  plugin: "split",
  params: (folder) => [join(folder, "missing")],
  see: ran,
  expected: {
    code: 1,
    errors: ["nbdkit: error: realpath: FOLDER/missing: No such file or directory"],
  },
});

stock("split is empty without files", {
  plugin: "split",
  see: ({ server }) => nbdsh(server, "show (h.get_size ())"),
  expected: 0,
});

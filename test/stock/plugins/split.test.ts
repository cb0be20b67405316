/** The genuine split plugin: it serves several files as one disk. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { refuses } from "../cases.ts";
import { nbdsh, stock } from "../stock.ts";

const names = ["first", "second", "third"];

// Release 1.32.5 writes to each file at the offset in the disk, which makes the second file longer.
stock("split serves its files as one disk, and splits writes at their borders", {
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
show (errnos (lambda: h.pread (2, 5999), lambda: h.trim (512, 0)))
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
      [6000, "666666737373", "737373747474", "6000 data"],
      "EINVAL",
      ["EINVAL", "EINVAL"],
      "zero fast_zero cache df",
    ],
    [
      [1000, "ffff", "ff--"],
      [3000, "ssss", "----"],
      [6000, "tttt", "\u0000\u0000\u0000\u0000"],
    ],
  ],
});

stock("split reports the holes of its files", {
  options: ["-r"],
  plugin: "split",
  params: (folder) => names.map((name) => `file=${join(folder, name)}`),
  before: async (folder) => {
    for (const name of names) {
      await Bun.$`truncate -s 65536 ${join(folder, name)}`;
      writeFileSync(join(folder, name), "x", { flag: "r+" });
    }
  },
  see: "show ([extents (196608, 0), flags ()])",
  expected: [
    "4096 data, 61440 hole+zero, 4096 data, 61440 hole+zero, 4096 data, 61440 hole+zero",
    "read_only cache df",
  ],
});

refuses("split refuses a missing file", {
  plugin: "split",
  params: (folder) => [join(folder, "missing")],
  error: "realpath: FOLDER/missing: No such file or directory",
});

stock("split is empty without files", {
  plugin: "split",
  see: "show (h.get_size ())",
  expected: 0,
});

/** The genuine file plugin: it serves a file, or all files of a folder. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { refuses } from "../cases.ts";
import { nbdsh, type Side, stock } from "../stock.ts";
import { dumps } from "./dumped.ts";
import { listed } from "./listed.ts";

/** Makes a file of 1M with data at both ends. */
async function sparse(folder: string): Promise<void> {
  const path = join(folder, "disk");
  await Bun.$`truncate -s 1M ${path} && printf start | dd of=${path} conv=notrunc status=none`;
  await Bun.$`printf end | dd of=${path} bs=1 seek=1048573 conv=notrunc status=none`;
}

for (const [title, parameter, more] of [
  ["serves a file with its holes, and makes holes in it", "", []],
  ["does the same with hints for the page cache", "file=", ["cache=none", "fadvise=sequential"]],
] as const)
  stock(`file ${title}`, {
    plugin: "file",
    params: (folder) => [parameter + join(folder, "disk"), ...more],
    before: sparse,
    see: async ({ server, folder }: Side) => {
      const seen = await nbdsh(
        server,
        `
show (extents (1048576, 0))
h.pwrite (b"D" * 16384, 65536, nbd.CMD_FLAG_FUA)
h.trim (4096, 65536 + 4096)
h.zero (4096, 65536 + 8192)
h.zero (100, 65536 + 50)
h.cache (65536, 0)
h.flush ()
show (extents (1048576, 0))
show (extents (1048576 - 70000, 70000, nbd.CMD_FLAG_REQ_ONE))
h.zero (4096, 131072, nbd.CMD_FLAG_NO_HOLE)
show ([h.pread (5, 0), h.pread (4, 65536 + 48), h.pread (3, 1048573)])
show (errnos (lambda: h.pread (2, 1048575), lambda: h.pwrite (b"xx", 1048575)))
show (flags ())
`,
      );
      const disk = readFileSync(join(folder, "disk"));
      return [
        seen,
        [
          disk.length,
          disk.subarray(65534, 65538).toString("hex"),
          disk.subarray(81918, 81922).toString("hex"),
        ],
      ];
    },
    expected: [
      [
        "4096 data, 1040384 hole+zero, 4096 data",
        "4096 data, 61440 hole+zero, 4096 data, 8192 hole+zero, 4096 data, 962560 hole+zero, 4096 data",
        "7824 hole+zero",
        ["7374617274", "44440000", "656e64"],
        ["EINVAL", "ENOSPC"],
        "flush fua trim zero multi_conn cache df",
      ],
      [1048576, "00004444", "44440000"],
    ],
  });

stock("file serves a folder with one export per file", {
  plugin: "file",
  params: (folder) => [`dir=${join(folder, "exports")}`, "fadvise=random"],
  before: (folder) => {
    const exports = join(folder, "exports");
    mkdirSync(join(exports, "subfolder"), { recursive: true });
    writeFileSync(join(exports, "one"), "1");
    writeFileSync(join(exports, "two"), "22");
    writeFileSync(join(exports, "zwei und drei"), "55555");
    symlinkSync("two", join(exports, "link"));
    symlinkSync("nowhere", join(exports, "broken"));
  },
  needs: ["nbdinfo"],
  see: async ({ server }) => [
    (await listed(server, "export-name", "export-size")).toSorted(),
    await nbdsh(
      server,
      `
two = client ("two")
two.pwrite (b"2!", 0)
two.flush ()
show ([two.get_size (), client ("link").pread (2, 0), client ("zwei und drei").pread (5, 0)])
show ([errno (lambda: client (name)) for name in ["", "none", "subfolder", "broken", "../exports/one", "one/"]])
`,
      null,
    ),
  ],
  expected: [
    [
      ["link", 2],
      ["one", 1],
      ["two", 2],
      ["zwei und drei", 5],
    ],
    [
      [2, "3221", "3535353535"],
      ["ENOENT", "ENOENT", "ENOENT", "ENOENT", "ENOENT", "ENOENT"],
    ],
  ],
});

stock("file serves a file read-only with -r", {
  options: ["-r"],
  plugin: "file",
  params: (folder) => [join(folder, "disk")],
  before: sparse,
  see: "show ([flags (), errno (lambda: h.pwrite (b'x', 0)), errno (lambda: h.trim (512, 0))])",
  expected: ["read_only flush multi_conn cache df", "EPERM", "EPERM"],
});

refuses("file refuses an unknown fadvise mode", {
  plugin: "file",
  params: (folder) => [`file=${folder}`, "fadvise=often"],
  error: "unknown fadvise mode: often",
});

dumps(
  "file",
  `
name=file version=1.32.5 api_version=2 struct_size=384 max_thread_model=parallel thread_model=parallel
errno_is_preserved=1 magic_config_key=file
longname unload dump_plugin config config_complete config_help list_exports open close get_size can_write
can_trim can_extents can_fua can_multi_conn can_cache pread pwrite flush trim zero extents cache
file_blksszget=yes file_blkzeroout=yes file_falloc_fl_punch_hole=yes file_falloc_fl_zero_range=yes
`,
);

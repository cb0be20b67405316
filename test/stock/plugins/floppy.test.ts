/** The genuine floppy plugin: it serves a folder as a FAT disk. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { run } from "#test/server";

import { refuses } from "../cases.ts";
import { stock } from "../stock.ts";

function files(folder: string): void {
  const root = join(folder, "root");
  mkdirSync(join(root, "Unterordner", "deep"), { recursive: true });
  writeFileSync(join(root, "SHORT.TXT"), "short");
  writeFileSync(join(root, "a file with a long name.text"), "long".repeat(20_000));
  writeFileSync(join(root, "Unterordner", "deep", "empty"), "");
}

stock("floppy serves a folder as a FAT partition", {
  plugin: "floppy",
  params: (folder) => [join(folder, "root"), "label=STOCK", "size=40M"],
  before: files,
  needs: ["fsck.vfat", "nbdcopy"],
  see: async ({ server, folder }) => {
    const partition = join(folder, "partition");
    const disk = (await Bun.$`nbdcopy ${server.uri} -`.quiet()).bytes();
    writeFileSync(partition, disk.subarray(1048576));
    const { stdout } = await run(["fsck.vfat", "-nvl", partition]);
    const text = Buffer.from(disk);
    return [
      disk.length,
      stdout
        .split("\n")
        .filter((line) => /^Checking file|data clusters|: \d+ files/.test(line))
        .map((line) => line.replace(partition, ""))
        .toSorted(),
      // Files begin at the start of a 16K cluster.
      [text.indexOf("short") % 16384, text.indexOf("long".repeat(20_000)) % 16384],
    ];
  },
  expected: [
    41943040,
    [
      "      2493 data clusters (40845312 bytes)",
      ": 6 files, 9/2493 clusters",
      "Checking file /",
      "Checking file /SHORT.TXT (SHORT.TXT)",
      "Checking file /STOCK",
      "Checking file /Unterordner (UNTERORD)",
      "Checking file /Unterordner/deep (DEEP)",
      "Checking file /Unterordner/deep/empty (EMPTY)",
      "Checking file /a file with a long name.text (A.TEX)",
    ],
    [0, 0],
  ],
});

stock("floppy is as small as possible, and read-only", {
  plugin: "floppy",
  params: (folder) => [`dir=${join(folder, "root")}`],
  before: files,
  see: `
show ([h.get_size (), h.pread (16, 446), h.pread (2, 510), h.pread (8, 1048576 + 82), h.pread (11, 1048576 + 71)])
show ([extents (h.get_size (), 0), errno (lambda: h.pwrite (b"x", 0)), errno (lambda: h.pread (1, h.get_size ()))])
show (flags ())
`,
  expected: [
    [
      1245184,
      "00feffff0cfeffff0008000080010000",
      "55aa",
      "4641543332202020",
      "4e42444b4954464c4f5059",
    ],
    ["1245184 data", "EPERM", "EINVAL"],
    "read_only multi_conn cache df",
  ],
});

refuses("floppy refuses a size that is too small", {
  plugin: "floppy",
  params: (folder) => [join(folder, "root"), "size=1M"],
  before: files,
  error: "disk image is too large for the FAT32 disk format",
});

refuses("floppy refuses a missing folder", {
  plugin: "floppy",
  params: (folder) => [join(folder, "root")],
  error: "realpath: FOLDER/root: No such file or directory",
});

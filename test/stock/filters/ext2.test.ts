/** The genuine ext2 filter: it serves a file inside a file system. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { run } from "#test/server";

import { refusesClients } from "../cases.ts";
import { errors, nbdsh, stock } from "../stock.ts";

const common = {
  filters: ["ext2"],
  plugin: "file",
  needs: ["mkfs.ext4", "debugfs"],
  before: async (folder: string) => {
    mkdirSync(join(folder, "tree", "disks"), { recursive: true });
    writeFileSync(join(folder, "tree", "disks", "disk"), "first file".padEnd(100_000, "."));
    writeFileSync(join(folder, "tree", "other"), "second file");
    const made = await run([
      "mkfs.ext4",
      "-q",
      "-d",
      join(folder, "tree"),
      join(folder, "fs"),
      "2M",
    ]);
    if (made.code !== 0) throw new Error(made.stderr);
  },
} as const;

stock("ext2 reads and writes a file inside an ext4 file system", {
  ...common,
  params: (folder) => [join(folder, "fs"), "ext2file=/disks/disk"],
  see: async ({ server, folder }) => {
    const seen = await nbdsh(
      server,
      `
show ([h.get_size (), flags (), h.pread (12, 0), errno (lambda: h.pread (1, 100000))])
h.pwrite (b"changed", 4093)
h.pwrite (b"end", 99997, nbd.CMD_FLAG_FUA)
h.zero (1000, 50000)
show (errno (lambda: h.trim (1000, 60000)))
h.flush ()
show ([h.pread (9, 4092), h.pread (3, 99997), h.pread (2, 50999), errno (lambda: h.pwrite (b"xx", 99999))])
`,
    );
    await server.stop();
    const { stdout } = await run(["debugfs", "-R", "cat /disks/disk", join(folder, "fs")]);
    const checked = await run(["e2fsck", "-fn", join(folder, "fs")]);
    const inside = [stdout.length, stdout.slice(4090, 4103), stdout.slice(99_990)];
    return { seen, inside, checked: checked.code };
  },
  expected: {
    seen: [
      [100000, "flush fua zero cache df", "66697273742066696c652e2e", "EINVAL"],
      "EINVAL",
      ["2e6368616e6765642e", "656e64", "002e", "ENOSPC"],
    ],
    inside: [100000, "...changed...", ".......end"],
    checked: 0,
  },
});

stock("ext2 serves the file that the client names", {
  ...common,
  options: ["-r"],
  params: (folder) => [join(folder, "fs"), "ext2file=exportname"],
  see: async ({ server, folder }) => [
    await nbdsh(
      server,
      `
def seen (name):
    c = client (name)
    found = [c.get_size (), c.pread (11, 0), c.is_read_only ()]
    c.shutdown ()
    return found
show ([seen (name) for name in ("/other", "/disks/disk")])
show ([errno (lambda: client (name)) for name in ("/none", "/disks")])
`,
      null,
    ),
    errors((await server.stop()).stderr, folder),
  ],
  expected: [
    [
      [
        [11, "7365636f6e642066696c65", true],
        [100000, "66697273742066696c652e", true],
      ],
      ["ENOENT", "ENOENT"],
    ],
    [
      "nbdkit: file: error: /none: namei: File not found by ext2_lookup",
      "nbdkit: file: error: /disks: must be a regular file in the disk image",
    ],
  ],
});

refusesClients("ext2 refuses the default export if the client chooses the file", {
  ...common,
  params: (folder) => [join(folder, "fs"), "ext2file=exportname"],
  error: 'default export ("") not permitted',
});

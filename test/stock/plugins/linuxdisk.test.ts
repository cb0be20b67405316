/** The genuine linuxdisk plugin: it serves a folder as a disk with an ext file system. */
import { chmodSync, linkSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { run } from "#test/server";

import { refuses } from "../cases.ts";
import { nbdsh, ownTmp, type Side, stock } from "../stock.ts";

function files(folder: string): void {
  const root = join(folder, "root");
  mkdirSync(join(root, "sub"), { recursive: true });
  writeFileSync(join(root, "sub", "file"), "text".repeat(5000));
  chmodSync(join(root, "sub", "file"), 0o640);
  linkSync(join(root, "sub", "file"), join(root, "hard"));
  symlinkSync("sub/file", join(root, "soft"));
}

/** The properties and the content of the file system. */
async function fileSystem({ server, folder }: Side) {
  const disk = join(folder, "disk");
  await run(["nbdcopy", server.uri, disk]);
  const at = `${disk}?offset=1048576`;
  const debugfs = async (request: string) => (await run(["debugfs", "-R", request, at])).stdout;
  const header = (await run(["dumpe2fs", "-h", at])).stdout;
  const field = (name: string) => new RegExp(`^${name}: *(.*)$`, "m").exec(header)?.[1];
  return {
    label: field("Filesystem volume name"),
    state: field("Filesystem state"),
    features: (field("Filesystem features") ?? "")
      .split(" ")
      .filter((name) => ["has_journal", "extent"].includes(name)),
    checked: (await run(["e2fsck", "-fn", at])).code,
    root: (await debugfs("ls -p /"))
      .split("\n")
      .flatMap((line) => line.split("/")[5] ?? [])
      .toSorted(),
    file: (await debugfs("cat /sub/file")) === "text".repeat(5000),
    mode: /Mode: *(\d+)/.exec(await debugfs("stat /hard"))?.[1],
    links: /Links: *(\d+)/.exec(await debugfs("stat /hard"))?.[1],
    link: /Fast link dest: (.*)/.exec(await debugfs("stat /soft"))?.[1],
  };
}

/** The part that all file systems have in common. */
const whole = {
  state: "clean",
  checked: 0,
  root: [".", "..", "hard", "lost+found", "soft", "sub"],
  file: true,
  mode: "0640",
  links: "2",
  link: '"sub/file"',
};
const needs = ["debugfs", "dumpe2fs", "e2fsck", "mke2fs", "nbdcopy"];

stock("linuxdisk serves a folder as an ext2 partition", {
  plugin: "linuxdisk",
  params: (folder) => [join(folder, "root")],
  before: files,
  env: ownTmp,
  needs,
  see: async (side) => [
    await fileSystem(side),
    await nbdsh(
      side.server,
      `
show ([h.get_size () % 512, h.pread (8, 512), h.pread (8, h.get_size () - 512), h.pread (2, 1048576 + 1080)])
show ([errno (lambda: h.pwrite (b"x", 0)), errno (lambda: h.pread (1, h.get_size ())), extents (512, 0, nbd.CMD_FLAG_REQ_ONE)])
show (flags ())
`,
    ),
  ],
  expected: [
    {
      label: "<none>",
      features: [],
      ...whole,
    },
    [
      [0, "4546492050415254", "4546492050415254", "53ef"],
      ["EPERM", "EINVAL", "512 data"],
      "read_only multi_conn cache df",
    ],
  ],
});

stock("linuxdisk makes an ext4 file system with size= and label=", {
  plugin: "linuxdisk",
  params: (folder) => [`dir=${join(folder, "root")}`, "type=ext4", "label=STOCK", "size=8M"],
  before: files,
  env: ownTmp,
  needs,
  see: async (side) => [await fileSystem(side), await nbdsh(side.server, "show (h.get_size ())")],
  expected: [
    {
      label: "STOCK",
      features: ["has_journal", "extent"],
      ...whole,
    },
    9454080,
  ],
});

stock("linuxdisk adds the free space of size=+", {
  plugin: "linuxdisk",
  params: (folder) => [join(folder, "root"), "size=+20M"],
  before: files,
  env: ownTmp,
  needs,
  see: "show (20 << 20 < h.get_size () < 40 << 20)",
  expected: true,
});

refuses("linuxdisk refuses an unknown type", {
  plugin: "linuxdisk",
  params: (folder) => [folder, "type=ntfs"],
  env: ownTmp,
  error: "type=<TYPE> must be an filesystem type supported by e2fsprogs",
});

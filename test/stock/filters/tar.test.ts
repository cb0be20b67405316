/** The genuine tar filter: it serves a file inside a tar file. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { run } from "#test/server";

import { refusesClients } from "../cases.ts";
import { nbdsh, stock } from "../stock.ts";

/** Makes a tar file with a file in a folder between other files. */
async function packed(folder: string): Promise<void> {
  const content = join(folder, "content");
  mkdirSync(join(content, "in"), { recursive: true });
  writeFileSync(join(content, "first"), "x".repeat(700));
  writeFileSync(join(content, "in", "disk.img"), "disk".repeat(250));
  writeFileSync(join(content, "last"), "y");
  const tar = [
    "tar",
    "--format=gnu",
    "-C",
    content,
    "-cf",
    join(folder, "t.tar"),
    "first",
    "in",
    "last",
  ];
  const { code, stderr } = await run(tar);
  if (code !== 0) throw new Error(`tar ended with ${code}: ${stderr}`);
}

/** The content of a file in the tar file, unpacked by tar. */
async function unpacked(folder: string, name: string): Promise<string> {
  const { stdout } = await run(["tar", "-xOf", join(folder, "t.tar"), name]);
  return stdout;
}

stock("tar reads and writes one file of many", {
  filters: ["tar"],
  plugin: "file",
  needs: ["tar"],
  before: packed,
  params: (folder) => [join(folder, "t.tar"), "tar-entry=in/disk.img"],
  see: async ({ server, folder }) => {
    const seen = await nbdsh(
      server,
      `
show ([h.get_size (), str (h.pread (6, 2), "ascii"), errno (lambda: h.pread (1, 1000)), errno (lambda: h.pwrite (b"12", 999))])
h.pwrite (b"START", 0)
h.pwrite (b"END", 997)
h.zero (2, 10)
h.trim (2, 20)
h.flush ()
show ([extents (1000, 0), flags ()])
`,
    );
    const disk = await unpacked(folder, "in/disk.img");
    return [
      seen,
      disk.length,
      disk.slice(0, 24),
      disk.slice(-4),
      (await unpacked(folder, "first")) === "x".repeat(700),
      await unpacked(folder, "last"),
    ];
  },
  expected: [
    [
      [1000, "skdisk", "EINVAL", "ENOSPC"],
      ["1000 data", "flush fua trim zero multi_conn cache df"],
    ],
    1000,
    "STARTiskdi\u0000\u0000diskdisk\u0000\u0000sk",
    "dEND",
    true,
    "y",
  ],
});

stock("tar is read-only with -r", {
  options: ["-r"],
  filters: ["tar"],
  plugin: "file",
  needs: ["tar"],
  before: packed,
  params: (folder) => [`file=${join(folder, "t.tar")}`, "tar-entry=first", "tar=/usr/bin/tar"],
  see: ({ server }) =>
    nbdsh(
      server,
      'show ([h.get_size (), h.is_read_only (), h.pread (700, 0) == b"x" * 700, errno (lambda: h.pwrite (b"x", 0))])',
    ),
  expected: [700, true, true, "EPERM"],
});

refusesClients("tar refuses clients if the tar file lacks the file", {
  filters: ["tar"],
  plugin: "file",
  needs: ["tar"],
  before: packed,
  params: (folder) => [join(folder, "t.tar"), "tar-entry=disk.img"],
  error: "tar subcommand failed, check that the file really exists in the tarball",
});

/** The genuine iso plugin: it serves folders as a CD. */
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { run } from "#test/server";

import { refuses } from "../cases.ts";
import { nbdsh, ownTmp, type Side, stock } from "../stock.ts";

function files(folder: string): void {
  for (const name of ["one", "two"]) {
    mkdirSync(join(folder, name, "sub"), { recursive: true });
    writeFileSync(join(folder, name, `the file of ${name}.text`), name.repeat(1000));
    writeFileSync(join(folder, name, "sub", `in-${name}`), "");
  }
  mkdirSync(join(folder, "out"));
}

const params = (folder: string) => [
  join(folder, "one"),
  `dir=${join(folder, "two")}`,
  'params=-JrT -V "Two folders"',
];

const seen = async ({ server, folder }: Side) => {
  const [disk, out] = [join(folder, "disk"), join(folder, "out")];
  await run(["nbdcopy", server.uri, disk]);
  await run(["xorriso", "-osirrox", "on", "-indev", disk, "-extract", "/", out]);
  return [
    readdirSync(out, { recursive: true }).map(String).toSorted(),
    (await Bun.file(join(out, "the file of two.text")).text()) === "two".repeat(1000),
    await nbdsh(
      server,
      `
show ([h.get_size () % 2048, h.get_size () > 16 * 2048, h.pread (6, 32768), h.pread (12, 32808).decode ()])
show ([errno (lambda: h.pwrite (b"x", 0)), errno (lambda: h.pread (1, h.get_size ())), extents (4096, 0, nbd.CMD_FLAG_REQ_ONE)])
show (flags ())
`,
    ),
  ];
};

stock("iso merges folders into one CD", {
  plugin: "iso",
  params,
  before: files,
  env: ownTmp,
  needs: ["xorriso", "nbdcopy"],
  see: seen,
  expected: [
    ["sub", "sub/in-one", "sub/in-two", "the file of one.text", "the file of two.text"],
    true,
    [
      [0, true, "014344303031", "Two folders "],
      ["EPERM", "EINVAL", "4096 data"],
      "read_only multi_conn cache df",
    ],
  ],
});

stock("iso makes its CD with another program", {
  plugin: "iso",
  params: (folder) => [...params(folder), `prog=${join(folder, "prog")}`],
  before: (folder) => {
    files(folder);
    const script = `#!/bin/sh\nprintf "%s\\n" "$@" >${folder}/args\nexec xorriso "$@"\n`;
    writeFileSync(join(folder, "prog"), script, { mode: 0o755 });
  },
  env: ownTmp,
  needs: ["xorriso", "nbdcopy"],
  see: async (side) => [
    ((await seen(side)) as unknown[])[1],
    (await Bun.file(join(side.folder, "args")).text())
      .replaceAll(side.folder, "FOLDER")
      .trimEnd()
      .split("\n"),
  ],
  expected: [
    true,
    ["-as", "mkisofs", "-quiet", "-JrT", "-V", "Two folders", "FOLDER/one", "FOLDER/two"],
  ],
});

refuses("iso ends if the program fails", {
  plugin: "iso",
  params: (folder) => [join(folder, "one"), "prog=false"],
  before: files,
  env: ownTmp,
  error: "false: command failed with exit code 1",
});

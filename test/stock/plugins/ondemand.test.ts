/** The genuine ondemand plugin: it makes a file system for each export, and keeps it. */
import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { run } from "#test/server";

import { refuses } from "../cases.ts";
import { nbdsh, stock } from "../stock.ts";
import { listed } from "./listed.ts";

const make = (folder: string) => mkdirSync(join(folder, "exports"));

stock("ondemand makes a file system when a client opens its export, and keeps it", {
  plugin: "ondemand",
  params: (folder) => [`dir=${join(folder, "exports")}`, "16M", "label=STOCK"],
  before: make,
  needs: ["mkfs.ext4", "dumpe2fs"],
  see: async ({ server, folder }) => {
    const exports = join(folder, "exports");
    const seen = await nbdsh(
      server,
      `
first = client ("first")
first.pwrite (b"kept", 0)
first.flush ()
show ([first.get_size (), first.pread (4, 0), client ("second").pread (4, 0), client ().pread (2, 1080)])
show ([errno (lambda: client (name)) for name in ["first", "with.dot", "../up", "co:lon", "n" * 256]])
`,
      null,
    );
    const header = (await run(["dumpe2fs", "-h", join(exports, "second")])).stdout;
    const label = /^Filesystem volume name: *(.*)$/m.exec(header)?.[1];
    return [
      seen,
      readdirSync(exports)
        .toSorted()
        .map((name) => [name, statSync(join(exports, name)).size]),
      label,
    ];
  },
  expected: [
    [
      [16777216, "6b657074", "00000000", "53ef"],
      ["ENOENT", "ENOENT", "ENOENT", "ENOENT", "ENOENT"],
    ],
    [
      ["default", 16777216],
      ["first", 16777216],
      ["second", 16777216],
    ],
    "STOCK",
  ],
});

stock("ondemand lists its exports, and makes clients wait for a disk with wait=true", {
  plugin: "ondemand",
  params: (folder) => [
    `dir=${join(folder, "exports")}`,
    "size=4K",
    "wait=true",
    'command=truncate -s $size "$disk"; printf "$word" | dd of="$disk" conv=notrunc status=none',
    "word=made",
  ],
  before: (folder) => {
    make(folder);
    writeFileSync(join(folder, "exports", "old"), "old".padEnd(512));
  },
  needs: ["nbdinfo"],
  see: async ({ server }) => {
    const names = async () => (await listed(server, "export-name", "export-size")).toSorted();
    const before = await names();
    const seen = await nbdsh(
      server,
      `
for name in ["new", "old"]:
    first = client (name)
    show ([first.get_size (), first.pread (4, 0)])
    first.pwrite (b"kept", 0)
    first.flush ()
    first.shutdown ()
    second = client (name)
    show (second.pread (4, 0))
    second.zero (512, 0)
    second.trim (512, 0)
    show ([second.pread (4, 0), second.can_trim (), second.can_fua (), second.can_multi_conn (), second.can_cache ()])
`,
      null,
    );
    return [before, seen, await names()];
  },
  expected: [
    [
      ["default", 4096],
      ["old", 512],
    ],
    [
      [4096, "6d616465"],
      "6b657074",
      ["00000000", true, true, false, false],
      [512, "6f6c6420"],
      "6b657074",
      ["00000000", true, true, false, false],
    ],
    [
      ["default", 4096],
      ["new", 4096],
      ["old", 512],
    ],
  ],
});

refuses("ondemand refuses a missing folder", {
  plugin: "ondemand",
  params: (folder) => [`dir=${join(folder, "exports")}`, "1M"],
  error: "realpath: FOLDER/exports: No such file or directory",
});

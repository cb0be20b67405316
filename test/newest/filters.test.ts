/** Every filter of the newest nbdkit does the same in this server and in nbdkit. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

import { type Newest, newestDebian } from "#test/newest";
import { installed, program, run } from "#test/server";

import { luksDisk } from "../stock/luks-disk.ts";
import { filters as recipes } from "../stock/stack-recipes.ts";
import { session } from "../stock/stack-session.ts";
import { content, readDisk } from "./read-disk.ts";

const newest = await newestDebian();
const missing = ["nbdsh", "mkfs.ext4"].filter((name) => !installed(name));
const needs =
  "needs" in newest
    ? ` ${newest.needs}`
    : missing.length > 0
      ? ` (needs ${missing.join(", ")})`
      : "";

/** The parameters of filters that have none in test/stock/stack-recipes.ts, and run above an ordinary disk. */
const more: Readonly<Record<string, readonly string[]>> = {
  count: [],
  evil: ["evil=stuck-bits", "evil-seed=1", "evil-probability=1/1000"],
  map: ["map=0-8191:65536"],
  openonce: [],
  readonly: ["readonly-file=FOLDER/none"],
  rotational: ["rotational=true"],
  spinning: ["max-seek-time=1ms", "half-seek-time=1ms", "min-seek-time=0"],
  "time-limit": ["time-limit=60"],
  xor: ["xor=0x55", "xorlen=1"],
};

/** Makes the file for a filter. All files have the same content. */
type Make = (folder: string, newest: Newest) => Promise<unknown> | unknown;

/** Runs a script of the newest Debian's Python in the folder, where `plain` has the content. */
const python =
  (script: string): Make =>
  async (folder, { inside }) => {
    const command = ["/usr/bin/env", "-C", folder, "python3", "-c", script];
    const { code, stderr } = await run([...inside, ...command]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  };

const lzip = `
import lzma, struct, zlib
data = open("plain", "rb").read()
filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 20, "lc": 3, "lp": 0, "pb": 2}]
body = lzma.compress(data, format=lzma.FORMAT_RAW, filters=filters)
size = 6 + len(body) + 20
open("disk", "wb").write(b"LZIP\\x01" + bytes([20]) + body + struct.pack("<IQQ", zlib.crc32(data), len(data), size))
`;

/** Filters that read a format, and others that are only compared by reading the disk. */
const special: Readonly<Record<string, { make: Make; params?: readonly string[] }>> = {
  bzip2: {
    make: python(`import bz2; open("disk", "wb").write(bz2.compress(open("plain", "rb").read()))`),
  },
  ext2: {
    make: async (folder) => {
      const disk = join(folder, "disk");
      mkdirSync(join(folder, "files"));
      writeFileSync(join(folder, "files", "plain"), content);
      writeFileSync(disk, Buffer.alloc(4 << 20));
      const { code, stderr } = await run(["mkfs.ext4", "-q", "-d", "files", disk], { cwd: folder });
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    },
    params: ["ext2file=/plain"],
  },
  gzip: { make: (folder) => writeFileSync(join(folder, "disk"), gzipSync(content)) },
  "indexed-gzip": {
    make: (folder) => writeFileSync(join(folder, "disk"), gzipSync(content)),
    params: ["gzip-index-path=FOLDER/index"],
  },
  luks: {
    make: (folder) =>
      writeFileSync(join(folder, "disk"), luksDisk(content.subarray(0, 100 * 512), "secret")),
    params: ["passphrase=secret"],
  },
  lzip: { make: python(lzip) },
  qcow2dec: {
    make: async (folder, { inside }) => {
      const paths = [join(folder, "plain"), join(folder, "disk")];
      const { code, stderr } = await run([
        ...[...inside, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", ...paths],
      ]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    },
  },
  tar: {
    make: python(`import tarfile; t = tarfile.open("disk", "w"); t.add("plain"); t.close()`),
    params: ["tar-entry=plain"],
  },
  xz: {
    make: python(
      `import lzma; open("disk", "wb").write(lzma.compress(open("plain", "rb").read()))`,
    ),
  },
  // These end the server, or a longer session would show no more of them.
  checkwrite: { make: plainDisk },
  exitlast: { make: plainDisk },
  // nbdkit 1.48.1 writes "!" for the time.
  log: { make: plainDisk, params: ["logfile=FOLDER/log"] },
  exitwhen: { make: plainDisk, params: ["exit-when-file-created=FOLDER/none"] },
  pause: { make: plainDisk, params: ["pause-control=FOLDER/control"] },
  readahead: { make: plainDisk },
  scan: { make: plainDisk },
  "tls-fallback": { make: plainDisk },
};

function plainDisk(folder: string): void {
  writeFileSync(join(folder, "disk"), content);
}

describe.skipIf(needs !== "")(`filters of the newest nbdkit${needs}`, () => {
  if ("needs" in newest) {
    test("run", () => {});
    return;
  }
  const { filters, inside, module, nbdkit } = newest;
  const ours = [...inside, ...program];

  test("all have parameters in this test", () => {
    const known = [...Object.keys({ ...recipes, ...more, ...special }), "cacheextents"];
    expect(filters.filter((name) => !known.includes(name))).toEqual([]);
    expect(filters.length).toBeGreaterThanOrEqual(53);
  });

  const ordinary = filters.filter((name) => !(name in special));
  test.each(ordinary)(
    "%s does the same in this server and in nbdkit",
    async (name) => {
      const params = more[name] ?? recipes[name]?.[0] ?? [];
      const stack = { filters: [name], plugin: "file", params: ["FOLDER/disk", ...params] };
      const [seen, genuine] = await Promise.all([
        session(ours, stack, (file, kind) => module(kind, file)),
        session(nbdkit, stack, (file) => file),
      ]);
      expect(genuine).not.toHaveProperty("failed");
      expect(seen).toEqual(genuine);
    },
    60_000,
  );

  test.each(filters.filter((name) => name in special))(
    "%s serves the same disk in this server and in nbdkit",
    async (name) => {
      const { make, params = [] } = special[name] ?? { make: plainDisk };
      const both = [
        { command: ours, filter: module("filter", name), plugin: module("plugin", "file") },
        { command: nbdkit, filter: name, plugin: "file" },
      ].map(({ command, filter, plugin }) =>
        readDisk(
          command,
          (folder) => [
            ...[`--filter=${filter}`, plugin, join(folder, "disk")],
            ...params.map((param) => param.replaceAll("FOLDER", folder)),
          ],
          (folder) => make(folder, newest),
        ),
      );
      const [seen, genuine] = await Promise.all(both);
      expect(genuine).toMatchObject({ error: 0 });
      expect(seen).toEqual(genuine);
    },
    60_000,
  );
});

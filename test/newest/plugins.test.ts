/** Plugins of the newest nbdkit serve the same disk in this server and in nbdkit. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { newestDebian } from "#test/newest";
import { program } from "#test/server";

import { content, readDisk } from "./read-disk.ts";

const newest = await newestDebian();
const needs = "needs" in newest ? ` ${newest.needs}` : "";

/** The parameters of each plugin. FOLDER has the files below. */
const served: Readonly<Record<string, readonly string[]>> = {
  curl: ["url=file://FOLDER/plain", "protocols=file"],
  data: ['data=(1 2 3)*1000 @8192 "text"'],
  eval: ["get_size=echo 65536", "pread=head -c $3 /dev/zero"],
  example1: [],
  example2: ["file=FOLDER/plain"],
  example3: [],
  file: ["FOLDER/plain"],
  full: ["1M"],
  info: ["mode=version"],
  lua: ["script=FOLDER/disk.lua"],
  memory: ["1M"],
  null: ["1M"],
  ones: ["1M", "byte=0x55"],
  partitioning: ["FOLDER/plain", "partition-type=mbr"],
  pattern: ["1M"],
  perl: ["script=FOLDER/disk.pl"],
  python: ["script=FOLDER/disk.py"],
  random: ["size=1M", "seed=1"],
  sh: ["FOLDER/disk.sh"],
  "sparse-random": ["size=1M", "seed=1"],
  split: ["FOLDER/plain", "FOLDER/plain"],
  tcl: ["script=FOLDER/disk.tcl"],
  zero: [],
};

/** The other plugins, and what they need that the unpacked packages or this test lack. */
const leftOut: Readonly<Record<string, string>> = {
  blkio: "a driver of libblkio",
  cc: "a C compiler",
  cdi: "podman",
  floppy: "a clock that stands still: its disk has the time",
  guestfs: "libguestfs",
  iso: "xorriso",
  libvirt: "libvirt",
  linuxdisk: "mke2fs",
  nbd: "another server",
  ondemand: "mkfs",
  ssh: "another server",
  tmpdisk: "mkfs",
  torrent: "a swarm",
  vram: "a graphics card",
};

const scripts: Readonly<Record<string, string>> = {
  "disk.lua": `
    function open (readonly) return {} end
    function get_size (h) return 65536 end
    function pread (h, count, offset) return string.rep ("l", count) end
  `,
  "disk.pl": `
    sub open { return {}; }
    sub get_size { return 65536; }
    sub pread { my ($h, $count, $offset) = @_; return "p" x $count; }
  `,
  "disk.py": `
API_VERSION = 2
def open(readonly):
    return 1
def get_size(h):
    return 65536
def pread(h, buf, offset, flags):
    buf[:] = b"y" * len(buf)
`,
  "disk.sh": `#!/bin/sh
case "$1" in
  get_size) echo 65536 ;;
  pread) head -c "$3" /dev/zero ;;
  *) exit 2 ;;
esac
`,
  "disk.tcl": `
    proc plugin_open {readonly} { return 1 }
    proc get_size {h} { return 65536 }
    proc pread {h count offset} { return [string repeat t $count] }
  `,
};

function makeFiles(folder: string): void {
  mkdirSync(join(folder, "files"));
  writeFileSync(join(folder, "files", "plain"), content);
  for (const [name, text] of Object.entries(scripts)) {
    writeFileSync(join(folder, name), text, { mode: 0o755 });
  }
}

describe.skipIf(needs !== "")(`plugins of the newest nbdkit${needs}`, () => {
  if ("needs" in newest) {
    test("serve", () => {});
    return;
  }
  const { inside, module, nbdkit, plugins } = newest;

  test("all have parameters in this test, or are left out", () => {
    const known = Object.keys({ ...served, ...leftOut });
    expect(plugins.filter((name) => !known.includes(name))).toEqual([]);
  });

  test.each(plugins.filter((name) => name in served))(
    "%s serves the same disk in this server and in nbdkit",
    async (name) => {
      const params = served[name] ?? [];
      const both = [
        { command: [...inside, ...program], plugin: module("plugin", name) },
        { command: nbdkit, plugin: name },
      ].map(({ command, plugin }) =>
        readDisk(
          command,
          (folder) => [plugin, ...params.map((param) => param.replaceAll("FOLDER", folder))],
          makeFiles,
        ),
      );
      const [seen, genuine] = await Promise.all(both);
      expect(genuine).toMatchObject({ error: 0 });
      expect(seen).toEqual(genuine);
    },
    60_000,
  );
});

/** Real files for tests of the file plugin, and file systems that may be filled. */
import { afterAll, beforeAll } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  rmdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { NextOps } from "#api";

const isRoot = process.getuid?.() === 0;

export const pattern = (count: number) =>
  Uint8Array.from({ length: count }, (_, i) => (i % 251) + 1);

/** The number of sectors of 512 bytes that the file takes. */
export const blocks = (path: string) => statSync(path).blocks;

export async function readFrom(next: NextOps, offset: bigint, count: number): Promise<Uint8Array> {
  const buf = new Uint8Array(count).fill(0xee);
  await next.pread(buf, offset, 0);
  return buf;
}

/** A folder for the tests of one file. It is removed after them. */
export function imageFolder() {
  let folder = "";
  let number = 0;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "file-plugin-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  const fresh = (suffix: string, where = folder) => join(where, `${(number += 1)}${suffix}`);
  return {
    folder: () => folder,
    /** An unused path. */
    fresh,
    /** A new file with these bytes, or with this many zeroes. */
    image(bytes: Uint8Array | number, where = folder): string {
      const path = fresh(".img", where);
      writeFileSync(path, typeof bytes === "number" ? "" : bytes);
      if (typeof bytes === "number") truncateSync(path, bytes);
      return path;
    },
  };
}

/** Mount a tmpfs of one megabyte at a path. */
export function tmpfs(where: string) {
  mkdirSync(where);
  const mounted = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", where]);
  return {
    where,
    mounted: mounted.success,
    [Symbol.dispose]() {
      if (mounted.success) Bun.spawnSync(["umount", where]);
    },
  };
}

/** A loop device over the file; undefined if the machine has none. */
export function loopDevice(path: string, ...options: readonly string[]) {
  if (!isRoot || Bun.which("losetup") === null) return undefined;
  const made = Bun.spawnSync(["losetup", "-f", "--show", ...options, path]);
  if (!made.success) return undefined;
  const device = made.stdout.toString().trim();
  return { device, [Symbol.dispose]: () => void Bun.spawnSync(["losetup", "-d", device]) };
}

export const haveLoops = (() => {
  const folder = mkdtempSync(join(tmpdir(), "file-plugin-loop-"));
  writeFileSync(join(folder, "image"), new Uint8Array(4096));
  using loop = loopDevice(join(folder, "image"));
  rmSync(folder, { recursive: true });
  return loop !== undefined;
})();

/** Root in a container may lack the right to mount. */
export const canMount = (() => {
  if (!isRoot) return false;
  const where = mkdtempSync(join(tmpdir(), "file-plugin-mount-"));
  const { success } = Bun.spawnSync(["mount", "-t", "tmpfs", "tmpfs", where]);
  if (success) Bun.spawnSync(["umount", where]);
  rmdirSync(where);
  return success;
})();

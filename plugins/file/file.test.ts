/** The file plugin on real files, through the chain. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { FLAG_FAST_ZERO, FLAG_FUA, FLAG_MAY_TRIM, FLAG_REQ_ONE, type NextOps, storage } from "#api";
import { abilities, clientOf, configured, errnoOf, mapOf, overPlugin } from "#test/chain";

import plugin from "./file.ts";

let folder = "";
let number = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "file-plugin-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const root = process.getuid?.() === 0;
const pattern = (count: number) => Uint8Array.from({ length: count }, (_, i) => (i % 251) + 1);

/** A new file that holds `bytes`, or as many zeroes. */
function image(bytes: Uint8Array | number, where = folder): string {
  number += 1;
  const path = join(where, `${number}.img`);
  writeFileSync(path, typeof bytes === "number" ? "" : bytes);
  if (typeof bytes === "number") truncateSync(path, bytes);
  return path;
}

async function readFrom(next: NextOps, offset: bigint, count: number): Promise<Uint8Array> {
  const buf = new Uint8Array(count).fill(0xee);
  await next.pread(buf, offset, 0);
  return buf;
}

const blocks = (path: string) => statSync(path).blocks;

/** Mount a tmpfs of one megabyte in the folder. */
function tmpfs() {
  const where = join(folder, `tmpfs-${(number += 1)}`);
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

/** Root in a container may lack the right to mount. */
const canMount = (() => {
  if (!root) return false;
  const where = mkdtempSync(join(tmpdir(), "file-plugin-mount-"));
  const { success } = Bun.spawnSync(["mount", "-t", "tmpfs", "tmpfs", where]);
  if (success) Bun.spawnSync(["umount", where]);
  rmdirSync(where);
  return success;
})();

describe("reading and writing", () => {
  test("reads what the file holds, up to its last byte", async () => {
    const bytes = pattern(5000);
    await using stack = await overPlugin(plugin, { file: image(bytes) });
    expect(await stack.next.getSize()).toBe(5000n);
    expect(await readFrom(stack.next, 0n, 5000)).toEqual(bytes);
    expect(await readFrom(stack.next, 4999n, 1)).toEqual(bytes.subarray(4999));
    expect(await errnoOf(() => stack.next.pread(new Uint8Array(2), 4999n, 0))).toBe("EINVAL");
  });

  test("reads small arrays of every age right", async () => {
    const bytes = pattern(4096);
    await using stack = await overPlugin(plugin, { file: image(bytes) });
    for (let round = 0; round < 2000; round += 1) {
      const at = (round * 37) % 3000;
      const buf = new Uint8Array(1 + (round % 1030));
      await stack.next.pread(buf, BigInt(at), 0);
      if (buf[0] !== bytes[at] || buf.at(-1) !== bytes[at + buf.length - 1]) {
        throw new Error(`round ${round}: wrong data`);
      }
    }
  });

  test("writes to the file and nothing beside", async () => {
    const path = image(pattern(5000));
    await using stack = await overPlugin(plugin, { file: path });
    await stack.next.pwrite(new Uint8Array(10).fill(0xaa), 4990n, 0);
    await stack.next.pwrite(new Uint8Array(1).fill(0xbb), 0n, FLAG_FUA);
    const expected = pattern(5000).fill(0xaa, 4990).fill(0xbb, 0, 1);
    expect(new Uint8Array(readFileSync(path))).toEqual(expected);
    expect(await errnoOf(() => stack.next.pwrite(new Uint8Array(2), 4999n, 0))).toBe("EINVAL");
    expect(statSync(path).size).toBe(5000);
  });

  test.each(["default", "none"])("moves large ranges with cache=%s", async (cache) => {
    const path = image(3 << 20);
    await using stack = await overPlugin(plugin, { file: path, cache, fadvise: "sequential" });
    const bytes = pattern((2 << 20) + 3);
    await stack.next.pwrite(bytes, 1n, 0);
    await stack.next.pwrite(bytes.subarray(0, 100), 0n, FLAG_FUA);
    await stack.next.flush(0);
    const back = await readFrom(stack.next, 101n, bytes.length - 100);
    expect(Buffer.compare(back, bytes.subarray(100))).toBe(0);
    expect(await readFrom(stack.next, 0n, 100)).toEqual(bytes.subarray(0, 100));
  });

  test.skipIf(!canMount)("reads and writes beyond 2^53 (needs to mount a tmpfs)", async () => {
    using it = tmpfs();
    expect(it.mounted).toBe(true);
    const path = image(0, it.where);
    const size = (1n << 62n) + 5n;
    const fd = openSync(path, "r+");
    storage.pwriteSync(fd, new Uint8Array([1, 2, 3, 4, 5]), size - 5n);
    closeSync(fd);
    await using stack = await overPlugin(plugin, { file: path });
    expect(await stack.next.getSize()).toBe(size);
    await stack.next.pwrite(new Uint8Array([9]), size - 1n, FLAG_FUA);
    expect([...(await readFrom(stack.next, size - 6n, 6))]).toEqual([0, 1, 2, 3, 4, 9]);
    const bytes = pattern((1 << 20) / 2);
    await stack.next.pwrite(bytes, (1n << 60n) + 1n, 0);
    const large = await readFrom(stack.next, 1n << 60n, (1 << 20) + 1);
    expect(Buffer.compare(large.subarray(1, bytes.length + 1), bytes)).toBe(0);
    expect(statSync(path).blocks * 512).toBeLessThan(1 << 20);
  });

  test("a file that became shorter gives EIO and says so", async () => {
    const path = image(pattern(8192));
    await using stack = await overPlugin(plugin, { file: path });
    await stack.next.getSize();
    truncateSync(path, 4096);
    expect(await readFrom(stack.next, 0n, 4096)).toEqual(pattern(4096));
    const late = stack.next.pread(new Uint8Array(100), 4090n, 0);
    await expect(Promise.resolve(late)).rejects.toMatchObject({
      errno: "EIO",
      message: expect.stringContaining(
        "read of 100 bytes at 4090 goes beyond the end of the file, which became shorter (it has 4096 bytes now)",
      ),
    });
  });

  test("a file that grew has its new size for the next client", async () => {
    const path = image(4096);
    await using stack = await overPlugin(plugin, { file: path });
    expect(await stack.next.getSize()).toBe(4096n);
    truncateSync(path, 8192);
    const other = stack.chain.connect(clientOf(stack.chain, 2));
    await other.open(false, "", false);
    expect(await other.top.getSize()).toBe(8192n);
    expect(await stack.next.getSize()).toBe(4096n);
    await other.close();
  });

  test("serves an empty file", async () => {
    await using stack = await overPlugin(plugin, { file: image(0) });
    expect(await stack.next.getSize()).toBe(0n);
  });
});

describe("holes", () => {
  test("trim and zero with MAY_TRIM make them, and only there", async () => {
    const path = image(pattern(1 << 20));
    await using stack = await overPlugin(plugin, { file: path });
    const before = blocks(path);
    await stack.next.trim(256 << 10, 65536n, FLAG_FUA);
    await stack.next.zero(256 << 10, 524288n, FLAG_MAY_TRIM);
    expect(before - blocks(path)).toBe((512 << 10) / 512);
    const expected = pattern(1 << 20);
    expected.fill(0, 65536, 65536 + (256 << 10)).fill(0, 524288, 524288 + (256 << 10));
    expect(Buffer.compare(readFileSync(path), expected)).toBe(0);
    const fd = openSync(path, "r");
    expect([
      storage.seek(fd, "hole", 0n),
      storage.seek(fd, "data", 65536n),
      storage.seek(fd, "hole", 400_000n),
      storage.seek(fd, "data", 1n << 20n),
    ]).toEqual([65536n, 327680n, 524288n, undefined]);
    closeSync(fd);
  });

  test("zero without MAY_TRIM keeps the space", async () => {
    const path = image(pattern(1 << 20));
    await using stack = await overPlugin(plugin, { file: path });
    const before = blocks(path);
    await stack.next.zero((1 << 20) - 2, 1n, FLAG_FUA);
    expect(blocks(path)).toBeGreaterThanOrEqual(before);
    const expected = new Uint8Array(1 << 20);
    expected[0] = 1;
    expected[expected.length - 1] = pattern(1 << 20).at(-1) ?? 0;
    expect(Buffer.compare(readFileSync(path), expected)).toBe(0);
  });

  test("reading does not fill them", async () => {
    const path = image(1 << 20);
    await using stack = await overPlugin(plugin, { file: path });
    expect(await readFrom(stack.next, 4096n, 4096)).toEqual(new Uint8Array(4096));
    await stack.next.cache(4096, 0n, 0);
    expect(blocks(path)).toBe(0);
  });

  test("a fast zero is refused by the chain, as the plugin does not promise it", async () => {
    await using stack = await overPlugin(plugin, { file: image(4096) });
    const fast = () => stack.next.zero(4096, 0n, FLAG_FAST_ZERO);
    expect(await errnoOf(fast)).toBe("EINVAL");
  });
});

describe("extents", () => {
  test("are what the file system says", async () => {
    const path = image(1 << 20);
    await using stack = await overPlugin(plugin, { file: path });
    const { next } = stack;
    await next.pwrite(pattern(65536), 131072n, FLAG_FUA);
    await next.pwrite(pattern(65536), 524288n, FLAG_FUA);
    await next.trim(65536, 524288n, 0);
    expect(await next.canExtents()).toBe(true);
    expect(await mapOf(next, 0n, 1 << 20)).toEqual([
      "0+131072 hole zero",
      "131072+65536 data",
      "196608+851968 hole zero",
    ]);
    expect(await mapOf(next, 131073n, 1)).toEqual(["131073+65535 data"]);
    expect(await mapOf(next, 0n, 1 << 20, FLAG_REQ_ONE)).toEqual(["0+131072 hole zero"]);
  });

  test("of a file without holes are one", async () => {
    await using stack = await overPlugin(plugin, { file: image(pattern(5000)) });
    expect(await mapOf(stack.next, 10n, 4990)).toEqual(["10+4990 data"]);
  });

  test("may be asked of an empty file, which has none", async () => {
    await using stack = await overPlugin(plugin, { file: image(0) });
    expect(await stack.next.canExtents()).toBe(true);
  });

  test("are a hole where the file became shorter", async () => {
    const path = image(pattern(8192));
    await using stack = await overPlugin(plugin, { file: path });
    await stack.next.getSize();
    truncateSync(path, 0);
    expect(await mapOf(stack.next, 0n, 8192)).toEqual(["0+8192 hole zero"]);
  });
});

describe("a directory", () => {
  /** Two images, a link to one of them, and what cannot be served. */
  function images(): string {
    const where = join(folder, `dir-${(number += 1)}`);
    mkdirSync(join(where, "folder"), { recursive: true });
    writeFileSync(join(where, "b.img"), pattern(512));
    writeFileSync(join(where, "a image"), pattern(1024));
    symlinkSync("b.img", join(where, "link"));
    symlinkSync("missing", join(where, "nowhere"));
    expect(Bun.spawnSync(["mkfifo", join(where, "pipe")]).success).toBe(true);
    return where;
  }

  test("is served by the names of exports", async () => {
    const dir = images();
    const chain = await configured(plugin, { dir });
    const list = await chain.listExports(clientOf(chain), false);
    expect(list.entries.map(({ name }) => name)).toEqual(["a image", "b.img", "link"]);
    for (const [exportName, size] of [
      ["a image", 1024n],
      ["b.img", 512n],
      ["link", 512n],
    ] as const) {
      await using stack = await overPlugin(plugin, { dir }, { exportName });
      expect(await stack.next.getSize()).toBe(size);
      expect(await readFrom(stack.next, 0n, 512)).toEqual(pattern(512));
    }
  });

  test.each([
    { name: "", says: 'default export ("") not permitted', errno: "EINVAL" },
    { name: "missing", says: "ENOENT", errno: "ENOENT" },
    { name: "folder", says: "folder is a directory", errno: "EINVAL" },
    { name: "..", says: "is a directory", errno: "EINVAL" },
    { name: "pipe", says: "pipe is a special file", errno: "EINVAL" },
    { name: "folder/../b.img", says: 'without "/"', errno: "EINVAL" },
    { name: "/etc/passwd", says: 'without "/"', errno: "EINVAL" },
  ])("has no export that is $name", async ({ name, says, errno }) => {
    const chain = await configured(plugin, { dir: images() });
    const opening = chain.connect(clientOf(chain)).open(false, name, false);
    const error: unknown = await opening.catch((it: unknown) => it);
    expect(error).toMatchObject({ errno, message: expect.stringContaining(says) });
  });

  test("has no export whose name ends early", async () => {
    const chain = await configured(plugin, { dir: images() });
    const opening = chain.connect(clientOf(chain)).open(false, "b.img\0", false);
    await expect(opening).rejects.toThrow("expected the name of a file");
  });

  test("that is gone fails the list and the client", async () => {
    const dir = images();
    const chain = await configured(plugin, { dir });
    rmSync(dir, { recursive: true });
    expect(await errnoOf(() => chain.listExports(clientOf(chain), false))).toBe("ENOENT");
  });

  test("and a file may be given by their descriptors", async () => {
    const dir = images();
    const folderFd = openSync(dir, "r");
    const fileFd = openSync(join(dir, "b.img"), "r+");
    {
      await using stack = await overPlugin(
        plugin,
        { dirfd: `${folderFd}` },
        { exportName: "a image" },
      );
      expect(await stack.next.getSize()).toBe(1024n);
      await using file = await overPlugin(plugin, { fd: `${fileFd}` });
      await file.next.pwrite(new Uint8Array([9]), 0n, 0);
      expect(await readFrom(file.next, 0n, 2)).toEqual(new Uint8Array([9, 2]));
    }
    closeSync(folderFd);
    closeSync(fileFd);
    await expect(configured(plugin, { fd: `${fileFd}` })).rejects.toThrow(`fd=${fileFd}: `);
  });
});

test("a file is the default export, and the only one", async () => {
  const chain = await configured(plugin, { file: image(512) });
  expect((await chain.listExports(clientOf(chain), false)).entries).toEqual([
    { name: "", description: undefined },
  ]);
});

describe("durability", () => {
  /** The fdatasync calls of a process that opens a file through the plugin and runs `body`. */
  function traced(body: string): number {
    const path = image(8192);
    const log = `${path}.strace`;
    const script = `
      import { overPlugin } from "#test/chain";
      import { FLAG_FUA, FLAG_MAY_TRIM } from "#api";
      import plugin from "./plugins/file/file.ts";
      await using stack = await overPlugin(plugin, { file: ${JSON.stringify(path)} });
      const { next } = stack;
      ${body}`;
    const where = join(import.meta.dir, "../..");
    const bun = [process.execPath, "-e", script];
    const run = Bun.spawnSync(["strace", "-f", "-o", log, "-e", "trace=fdatasync", ...bun], {
      cwd: where,
    });
    expect({ code: run.exitCode, stderr: run.stderr.toString() }).toEqual({ code: 0, stderr: "" });
    return (readFileSync(log, "utf8").match(/fdatasync\(\d+/g) ?? []).length;
  }

  const strace = Bun.which("strace") !== null;
  const buf = "new Uint8Array(512)";

  test.skipIf(!strace)(
    "flush and FUA reach the disk (needs strace)",
    () => {
      const calls = traced(`
      await next.pwrite(${buf}, 0n, FLAG_FUA);
      await next.trim(512, 0n, FLAG_FUA);
      await next.zero(512, 0n, FLAG_FUA | FLAG_MAY_TRIM);
      await next.flush(0);`);
      expect(calls).toBe(4);
    },
    30_000,
  );

  test.skipIf(!strace)(
    "nothing else does (needs strace)",
    () => {
      const calls = traced(`
      await next.pwrite(${buf}, 0n, 0);
      await next.trim(512, 0n, 0);
      await next.zero(512, 0n, 0);
      await next.pread(${buf}, 0n, 0);`);
      expect(calls).toBe(0);
    },
    30_000,
  );
});

describe("what it can do", () => {
  test("is all that the kernel can", async () => {
    await using stack = await overPlugin(plugin, { file: image(4096) });
    const { next } = stack;
    expect(await abilities(next)).toEqual({
      write: true,
      flush: true,
      trim: true,
      zero: "native",
      fast: false,
      fua: "native",
      cache: "native",
      multi: true,
      rotational: false,
    });
  });

  test("with -r it opens read only", async () => {
    await using stack = await overPlugin(plugin, { file: image(4096) }, { readonly: true });
    expect(await stack.next.canWrite()).toBe(false);
    expect(await errnoOf(() => stack.next.pwrite(new Uint8Array(1), 0n, 0))).toBe("EINVAL");
  });

  test.skipIf(!canMount)(
    "a read-only file system falls back to read only (needs to mount a tmpfs)",
    async () => {
      using it = tmpfs();
      expect(it.mounted).toBe(true);
      const path = image(pattern(4096), it.where);
      Bun.spawnSync(["mount", "-o", "remount,ro", it.where]);
      await using stack = await overPlugin(plugin, { file: path });
      expect(await stack.next.canWrite()).toBe(false);
      expect(await readFrom(stack.next, 0n, 10)).toEqual(pattern(10));
    },
  );

  test.skipIf(root)(
    "a file without write permission falls back to read only (needs a user)",
    async () => {
      const path = image(pattern(4096));
      chmodSync(path, 0o444);
      await using stack = await overPlugin(plugin, { file: path });
      expect(await stack.next.canWrite()).toBe(false);
    },
  );
});

describe("no space", () => {
  test.skipIf(!canMount)("a full file system gives ENOSPC (needs to mount a tmpfs)", async () => {
    using it = tmpfs();
    expect(it.mounted).toBe(true);
    const path = image(4 << 20, it.where);
    await using stack = await overPlugin(plugin, { file: path });
    expect(await errnoOf(() => stack.next.pwrite(new Uint8Array(2 << 20), 0n, 0))).toBe("ENOSPC");
    expect(await errnoOf(() => stack.next.pwrite(new Uint8Array(1 << 20), 2n << 20n, 0))).toBe(
      "ENOSPC",
    );
    await stack.next.trim(4 << 20, 0n, 0);
    expect(blocks(path)).toBe(0);
    expect(await errnoOf(() => stack.next.zero(2 << 20, 0n, 0))).toBe("ENOSPC");
    await stack.next.zero(64 << 10, 0n, 0);
    expect(blocks(path)).toBe(128);
  });

  test("a limit on file sizes gives EFBIG and not a signal", () => {
    const path = image(1 << 20);
    const script = `
      import { abilities, errnoOf, overPlugin } from "#test/chain";
      import plugin from "./plugins/file/file.ts";
      await using stack = await overPlugin(plugin, { file: ${JSON.stringify(path)} });
      console.log(await errnoOf(() => stack.next.pwrite(new Uint8Array(4096), 524288n, 0)));`;
    const run = Bun.spawnSync(
      ["sh", "-c", 'ulimit -f 512; exec "$0" -e "$1"', process.execPath, script],
      { cwd: join(import.meta.dir, "../..") },
    );
    expect({ out: run.stdout.toString(), code: run.exitCode }).toEqual({ out: "EFBIG\n", code: 0 });
  });
});

describe("block devices", () => {
  /** A loop device over a new file of one megabyte. */
  function loop() {
    const path = image(pattern(1 << 20));
    const run = Bun.spawnSync(["losetup", "-f", "--show", path]);
    const device = run.success ? run.stdout.toString().trim() : undefined;
    return {
      path,
      device,
      [Symbol.dispose]() {
        if (device !== undefined) Bun.spawnSync(["losetup", "-d", device]);
      },
    };
  }
  const usable = (() => {
    if (!root || Bun.which("losetup") === null) return false;
    return Bun.spawnSync(["losetup", "-f"]).success;
  })();

  test.skipIf(!usable)("are served like files (needs root and losetup)", async () => {
    using it = loop();
    if (it.device === undefined) throw new Error("losetup found no device");
    {
      await using stack = await overPlugin(plugin, { file: it.device });
      const { next } = stack;
      expect(await next.getSize()).toBe(1n << 20n);
      expect(typeof (await next.isRotational())).toBe("boolean");
      expect(await readFrom(next, 1_000_000n, 100)).toEqual(
        pattern(1 << 20).subarray(1_000_000, 1_000_100),
      );
      await next.pwrite(new Uint8Array(100).fill(0xaa), 1_000_000n, FLAG_FUA);
      await next.zero(65536, 0n, FLAG_FUA);
      await next.zero(65536, 65536n, FLAG_MAY_TRIM | FLAG_FUA);
      await next.zero(100, 131073n, FLAG_FUA);
      await next.trim(65536, 262144n, FLAG_FUA);
    }
    const expected = pattern(1 << 20).fill(0xaa, 1_000_000, 1_000_100);
    expected.fill(0, 0, 131072).fill(0, 131073, 131173).fill(0, 262144, 327680);
    expect(Buffer.compare(readFileSync(it.path), expected)).toBe(0);
  });
});

describe("parameters", () => {
  test("file= is required", async () => {
    await expect(configured(plugin, {})).rejects.toThrow("file= is required");
  });

  test("only one of file=, dir=, fd= and dirfd= may be given", async () => {
    await expect(configured(plugin, { file: image(512), dir: folder })).rejects.toThrow(
      "file: file= and dir= exclude each other: expected one of them",
    );
  });

  test("a file is no directory", async () => {
    const path = image(512);
    await expect(configured(plugin, { dir: path })).rejects.toThrow(
      `file: ${path} is not a directory`,
    );
  });

  test("a missing file is found at start", async () => {
    const path = join(folder, "missing.img");
    await expect(configured(plugin, { file: path })).rejects.toThrow(/missing\.img/);
  });

  test("a directory is refused", async () => {
    await expect(configured(plugin, { file: folder })).rejects.toThrow(
      `file: ${folder} is a directory: expected a regular file or a block device`,
    );
  });

  test("a pipe is refused, without waiting for its writer", async () => {
    const path = join(folder, "pipe");
    expect(Bun.spawnSync(["mkfifo", path]).success).toBe(true);
    await expect(configured(plugin, { file: path })).rejects.toThrow("is a special file");
  });

  test("a file that is gone when a client comes refuses the client", async () => {
    const path = image(512);
    const chain = await configured(plugin, { file: path });
    rmSync(path);
    const connection = chain.connect(clientOf(chain, 1));
    expect(await errnoOf(() => connection.open(false, "", false))).toBe("ENOENT");
  });

  test.each([
    ["fd", "fd=1: expected an integer from 3 to 2147483647"],
    ["dirfd", "dirfd=1: expected an integer from 3 to 2147483647"],
    ["rdelay", "use --filter=delay"],
    ["x", "unknown parameter x=1: expected one of file, dir, fd, dirfd, cache, fadvise"],
  ])("%s= is refused", async (key, message) => {
    await expect(configured(plugin, { [key]: "1" })).rejects.toThrow(message);
  });

  test.each([
    ["cache", "one of default, none"],
    ["fadvise", "one of normal, random, sequential"],
  ])("%s= takes only its words", async (key, message) => {
    await expect(configured(plugin, { [key]: "x" })).rejects.toThrow(message);
  });

  test("every word of fadvise= is taken by the kernel", async () => {
    for (const fadvise of ["normal", "random", "sequential"]) {
      await using stack = await overPlugin(plugin, { file: image(4096), fadvise });
      expect(await readFrom(stack.next, 0n, 1)).toEqual(new Uint8Array(1));
    }
  });
});

test("closes what it opened", async () => {
  const path = image(512);
  const open = () =>
    Bun.spawnSync(["sh", "-c", `ls -l /proc/${process.pid}/fd`])
      .stdout.toString()
      .includes(path);
  const stack = await overPlugin(plugin, { file: path });
  expect(open()).toBe(true);
  await stack.close();
  expect(open()).toBe(false);
});

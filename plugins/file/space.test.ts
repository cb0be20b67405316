/** The disk space of files: holes and their extents, full file systems, and block devices. */
import { describe, expect, test } from "bun:test";
import { closeSync, openSync, readFileSync, truncateSync } from "node:fs";
import { join } from "node:path";

import { FLAG_FAST_ZERO, FLAG_FUA, FLAG_MAY_TRIM, FLAG_REQ_ONE, storage } from "#api";
import { errnoOf, mapOf, overPlugin } from "#test/chain";

import plugin from "./file.ts";
import {
  blocks,
  canMount,
  haveLoops,
  imageFolder,
  loopDevice,
  pattern,
  readFrom,
  tmpfs,
} from "./images-fixture.ts";

const { fresh, image } = imageFolder();

describe("holes", () => {
  test("are made by trim, and by zero with MAY_TRIM, only in their range", async () => {
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

  test("are not made by zero without MAY_TRIM", async () => {
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

  test("are not filled by reads", async () => {
    const path = image(1 << 20);
    await using stack = await overPlugin(plugin, { file: path });
    expect(await readFrom(stack.next, 4096n, 4096)).toEqual(new Uint8Array(4096));
    await stack.next.cache(4096, 0n, 0);
    expect(blocks(path)).toBe(0);
  });

  test("are not made by a fast zero, which the plugin does not offer", async () => {
    await using stack = await overPlugin(plugin, { file: image(4096) });
    const fast = () => stack.next.zero(4096, 0n, FLAG_FAST_ZERO);
    expect(await errnoOf(fast)).toBe("EINVAL");
  });
});

describe("extents", () => {
  test("are those of the file system", async () => {
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

  test("of a file without holes are one extent", async () => {
    await using stack = await overPlugin(plugin, { file: image(pattern(5000)) });
    expect(await mapOf(stack.next, 10n, 4990)).toEqual(["10+4990 data"]);
  });

  test("can be reported for an empty file", async () => {
    await using stack = await overPlugin(plugin, { file: image(0) });
    expect(await stack.next.canExtents()).toBe(true);
  });

  test("report no hole beyond the end of a shortened file", async () => {
    const path = image(pattern(8192));
    await using stack = await overPlugin(plugin, { file: path });
    await stack.next.getSize();
    truncateSync(path, 4096);
    expect(await mapOf(stack.next, 0n, 8192)).toEqual(["0+8192 data"]);
    truncateSync(path, 0);
    expect(await mapOf(stack.next, 0n, 8192)).toEqual(["0+8192 data"]);
    truncateSync(path, 8192);
    expect(await mapOf(stack.next, 0n, 8192)).toEqual(["0+8192 hole zero"]);
  });
});

describe("a write", () => {
  test.skipIf(!canMount)(
    "fails with ENOSPC on a full file system (needs to mount a tmpfs)",
    async () => {
      using it = tmpfs(fresh("-tmpfs"));
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
    },
  );

  test("fails with EFBIG, without a signal, at the limit of file sizes", () => {
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

test.skipIf(!haveLoops)("a block device is served like a file (needs a loop device)", async () => {
  const path = image(pattern(1 << 20));
  using loop = loopDevice(path);
  if (loop === undefined) throw new Error("no loop device");
  {
    await using stack = await overPlugin(plugin, { file: loop.device });
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
  expect(Buffer.compare(readFileSync(path), expected)).toBe(0);
});

/** The file plugin on real files, through the chain. */
import { describe, expect, test } from "bun:test";
import { chmodSync, closeSync, openSync, readFileSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";

import { FLAG_FUA, storage } from "#api";
import { abilities, clientOf, errnoOf, everyAbility, overPlugin } from "#test/chain";
import { NbdClient } from "#test/client";
import { bareProgram, serve, until } from "#test/server";

import plugin from "./file.ts";
import { canMount, imageFolder, pattern, readFrom, tmpfs } from "./images-fixture.ts";

const { fresh, image } = imageFolder();

describe("the file plugin", () => {
  test("reads the file up to its last byte", async () => {
    const bytes = pattern(5000);
    await using stack = await overPlugin(plugin, { file: image(bytes) });
    expect(await stack.next.getSize()).toBe(5000n);
    expect(await readFrom(stack.next, 0n, 5000)).toEqual(bytes);
    expect(await readFrom(stack.next, 4999n, 1)).toEqual(bytes.subarray(4999));
    expect(await errnoOf(() => stack.next.pread(new Uint8Array(2), 4999n, 0))).toBe("EINVAL");
  });

  test("reads into small arrays, even if the garbage collector moves them", async () => {
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

  test("changes only the written range", async () => {
    const path = image(pattern(5000));
    await using stack = await overPlugin(plugin, { file: path });
    await stack.next.pwrite(new Uint8Array(10).fill(0xaa), 4990n, 0);
    await stack.next.pwrite(new Uint8Array(1).fill(0xbb), 0n, FLAG_FUA);
    const expected = pattern(5000).fill(0xaa, 4990).fill(0xbb, 0, 1);
    expect(new Uint8Array(readFileSync(path))).toEqual(expected);
    expect(await errnoOf(() => stack.next.pwrite(new Uint8Array(2), 4999n, 0))).toBe("EINVAL");
    expect(statSync(path).size).toBe(5000);
  });

  test.each(["default", "none"])("reads and writes large ranges with cache=%s", async (cache) => {
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
    using it = tmpfs(fresh("-tmpfs"));
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

  test("fails a read beyond the end of a shortened file with EIO and the reason", async () => {
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

  test("gives the next client the new size of a file that has grown", async () => {
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

describe("the file plugin", () => {
  /** The number of fdatasync calls of a process that opens a file through the plugin and runs `body`. */
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
    "calls fdatasync for flush and FUA (needs strace)",
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
    "calls fdatasync for nothing else (needs strace)",
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

describe("the file plugin", () => {
  test("has every ability but fast zeroes", async () => {
    await using stack = await overPlugin(plugin, { file: image(4096) });
    expect(await abilities(stack.next)).toEqual({ ...everyAbility, fast: false });
  });

  test("opens the file read-only with -r", async () => {
    await using stack = await overPlugin(plugin, { file: image(4096) }, { readonly: true });
    expect(await stack.next.canWrite()).toBe(false);
    expect(await errnoOf(() => stack.next.pwrite(new Uint8Array(1), 0n, 0))).toBe("EINVAL");
  });

  test.skipIf(!canMount)(
    "opens a file on a read-only file system read-only (needs to mount a tmpfs)",
    async () => {
      using it = tmpfs(fresh("-tmpfs"));
      expect(it.mounted).toBe(true);
      const path = image(pattern(4096), it.where);
      Bun.spawnSync(["mount", "-o", "remount,ro", it.where]);
      await using stack = await overPlugin(plugin, { file: path });
      expect(await stack.next.canWrite()).toBe(false);
      expect(await readFrom(stack.next, 0n, 10)).toEqual(pattern(10));
    },
  );

  test("opens a file without write permission read-only", async () => {
    const path = image(pattern(4096));
    chmodSync(path, 0o444);
    await using server = await serve(["file", path], { program: bareProgram });
    const { client, export: opened } = await NbdClient.ready({ unix: server.socket });
    // NBD_FLAG_READ_ONLY
    expect(opened.eflags & 2).toBe(2);
    await client[Symbol.asyncDispose]();
  });
});

test("with -t 1 a large read has the data from before a write behind it", async () => {
  const path = image(pattern(1 << 17));
  await using server = await serve(["-t1", "file", path]);
  const { client } = await NbdClient.ready({ unix: server.socket });
  const count = 1 << 16;
  // Once, so that the file is known to be in memory.
  await client.ask({ type: 0, offset: 0n, count });
  client.pause();
  client.request({ type: 0, offset: 0n, count });
  client.request({ type: 1, offset: 0n, payload: new Uint8Array(count).fill(0xee) });
  await until(() => readFileSync(path)[count - 1] === 0xee);
  client.resume();
  expect(await client.reply()).toMatchObject({ error: 0 });
  expect(Buffer.compare(await client.take(count), pattern(1 << 17).subarray(0, count))).toBe(0);
  await client[Symbol.asyncDispose]();
});

test("the file plugin closes its file", async () => {
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

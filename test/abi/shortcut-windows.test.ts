/** Shortcuts of C layers past windows: to a C layer, and to the file whose descriptor a plugin declares. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { definePlugin, NbdError } from "#api";
import { errnoOf } from "#test/chain";
import { haveCompiler } from "#test/modules";
import { scriptLayer } from "#test/native";
import { randomFrom } from "#test/random";

import { everyCallback, forgetRecord, recorded, recordingPlugin } from "./every-callback.ts";
import { askedThrice, lens, opened, requests, size } from "./shortcut-fixture.ts";

describe.skipIf(!haveCompiler)("shortcuts (needs cc)", () => {
  beforeAll(async () => {
    await Promise.all([
      everyCallback("1.4"),
      everyCallback("1.30"),
      everyCallback("1.44"),
      recordingPlugin(),
    ]);
  }, 60_000);

  test("add the windows of TypeScript filters to the offsets", async () => {
    const lower = await recordingPlugin();
    const { top } = await opened([await everyCallback("1.30"), lens(1000n), lens(24n), lower]);
    for (const method of Object.keys(requests)) {
      const expected = { javascript: 1, c: 3 };
      expect([method, await askedThrice(top, lower, method)]).toEqual([method, expected]);
    }
    for (let i = 0; i < 3; i++) {
      forgetRecord();
      await top.pwrite(new Uint8Array(512).fill(i + 1), 512n, 0);
      await top.trim(512, 2048n, 0);
      const buf = new Uint8Array(512);
      await top.pread(buf, 512n, 0);
      expect(buf).toEqual(new Uint8Array(512).fill(i + 1));
      const [write, trim, read] = recorded().filter((line) => line.startsWith(lower.name));
      expect([write, trim, read].map((line) => line?.match(/ 512 (\d+)/)?.[1])).toEqual([
        "1536",
        "3072",
        "1536",
      ]);
    }
    const end = BigInt(size) - 1024n;
    expect(await errnoOf(() => top.pread(new Uint8Array(512), end - 512n, 0))).toBe("no error");
    expect(await errnoOf(() => top.pread(new Uint8Array(512), end - 511n, 0))).toBe("EINVAL");
  });

  describe("end in the descriptor of a file", () => {
    let folder = "";
    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), "nbdkit-shortcuts-"));
    });
    afterAll(() => rmSync(folder, { recursive: true }));

    test.each([0, 1000])(
      "that a TypeScript plugin declares, with a window at %d",
      async (start) => {
        const path = join(folder, "disk");
        writeFileSync(
          path,
          Uint8Array.from({ length: size }, (_, i) => (i * 7) % 251),
        );
        const calls = { pread: 0, pwrite: 0 };
        const plugin = definePlugin({
          name: "described",
          open: () => ({ fd: openSync(path, "r+") }),
          close: ({ fd }) => closeSync(fd),
          descriptor: ({ fd }) => fd,
          getSize: () => BigInt(size),
          pread: (_handle, buf, offset) => {
            calls.pread++;
            const part = readFileSync(path).subarray(Number(offset), Number(offset) + buf.length);
            if (part.length < buf.length) throw new NbdError("ESTALE", "");
            buf.set(part);
          },
          pwrite: (_handle, buf, offset) => {
            calls.pwrite++;
            const all = readFileSync(path);
            all.set(buf, Number(offset));
            writeFileSync(path, all);
          },
        });
        const connection = await opened([
          await everyCallback("1.4"),
          await everyCallback("1.44"),
          ...(start === 0 ? [] : [lens(BigInt(start))]),
          scriptLayer("plugin", plugin),
        ]);
        const { top } = connection;
        const random = randomFrom(7);
        const model = Uint8Array.from({ length: size }, (_, i) => (i * 7) % 251);
        for (let i = 0; i < 100; i++) {
          const count = Math.floor(random() * 4096) + 1;
          const offset = Math.floor(random() * (size - start - count));
          const at = start + offset;
          const buf = new Uint8Array(count).fill(i);
          if (i % 2 === 0) {
            await top.pwrite(buf, BigInt(offset), 0);
            model.set(buf, at);
          } else {
            await top.pread(buf, BigInt(offset), 0);
            expect(buf).toEqual(model.slice(at, at + count));
          }
        }
        expect(calls).toEqual({ pread: 1, pwrite: 1 });
        expect(new Uint8Array(readFileSync(path))).toEqual(model);
        // The file shrinks without the plugin's knowledge. The plugin chooses the error.
        writeFileSync(path, model.subarray(0, start + 1024));
        expect(await errnoOf(() => top.pread(new Uint8Array(512), 1024n, 0))).toBe("ESTALE");
        expect(await errnoOf(() => top.pread(new Uint8Array(512), 512n, 0))).toBe("no error");
        expect(calls.pread).toBe(2);
        await connection.close();
      },
    );
  });
});

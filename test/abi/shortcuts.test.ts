/** Requests that go directly from a C layer to the C layer below, with the same results as through JavaScript. */
import { beforeAll, describe, expect, spyOn, test } from "bun:test";

import { type ReleaseId, releaseIds } from "#abi/generated/releases.gen";
import { defineFilter, FLAG_FAST_ZERO, FLAG_FUA, FLAG_MAY_TRIM, type NextOps } from "#api";
import { errnoOf, mapOf } from "#test/chain";
import { NbdClient } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { nativeLayer, scriptLayer } from "#test/native";
import { randomFrom } from "#test/random";
import { serve } from "#test/server";

import { actingFilter } from "./acting.ts";
import {
  everyCallback,
  everyCallbackPath,
  everyMethod,
  forgetRecord,
  recorded,
  recordingPlugin,
  recordingPluginPath,
} from "./every-callback.ts";
import { recordErrors } from "./logged-errors.ts";
import { askedThrice, lens, opened, requests, size, withoutShortcut } from "./shortcut-fixture.ts";

/** Makes a random request, often at a limit. Resolves to its results. */
async function anyRequest(top: NextOps, random: () => number): Promise<unknown> {
  const pick = <T>(...items: T[]): T => items[Math.floor(random() * items.length)] as T;
  const count = pick(1, 22, 32, 33, 512, 4096, 4096, size, Math.floor(random() * 5000) + 34);
  const offset = BigInt(
    pick(0, size - count, size - count + 1, size, Math.floor(random() * Math.max(1, size - count))),
  );
  const fua = pick(0, 0, FLAG_FUA);
  const buf = new Uint8Array(count).fill(pick(0, 1, 2, 255));
  switch (pick("cache", "extents", "flush", "pread", "pread", "pwrite", "pwrite", "trim", "zero")) {
    case "pread":
      return [await errnoOf(() => top.pread(buf, offset, 0)), Bun.hash(buf)];
    case "pwrite":
      return errnoOf(() => top.pwrite(buf, offset, fua));
    case "trim":
      return errnoOf(() => top.trim(count, offset, fua));
    case "zero":
      return errnoOf(() => top.zero(count, offset, fua | pick(0, FLAG_MAY_TRIM, FLAG_FAST_ZERO)));
    case "cache":
      return errnoOf(() => top.cache(count, offset, 0));
    case "flush":
      return errnoOf(() => top.flush(0));
    default: {
      let map: unknown;
      const errno = await errnoOf(async () => (map = await mapOf(top, offset, count)));
      return [errno, map];
    }
  }
}

describe.skipIf(!haveCompiler)("shortcuts between C layers (needs cc)", () => {
  beforeAll(async () => {
    await Promise.all([
      ...releaseIds.map((id) => everyCallback(id)),
      ...releaseIds.map(actingFilter),
      recordingPlugin(),
      recordingPlugin(false),
    ]);
  }, 60_000);

  describe("are taken", () => {
    test.each(releaseIds)("%s: to a plugin, and to another filter", async (id) => {
      const other = id === "1.44" ? "1.36" : "1.44";
      for (const lower of [await recordingPlugin(), await everyCallback(other)]) {
        const filters = [await everyCallback(id), ...(lower.kind === "filter" ? [lower] : [])];
        const { top } = await opened([...filters, await recordingPlugin()]);
        for (const method of Object.keys(requests)) {
          if (method === "cache" && (await top.canCache()) === "none") continue;
          // The first request goes through the seam.
          const expected = { javascript: 1, c: 3 };
          expect([method, await askedThrice(top, lower, method)]).toEqual([method, expected]);
        }
      }
    });

    test("by each of several C layers", async () => {
      const filters = await Promise.all(
        (["original", "1.14", "1.24", "1.30"] as const).map((id) => everyCallback(id)),
      );
      const layers = [...filters, await recordingPlugin()];
      const { top } = await opened(layers);
      const spies = layers.map((layer) => spyOn(layer, "pread"));
      for (let i = 0; i < 5; i++) await requests["pread"]?.(top);
      const counts = spies.map((spy) => spy.mock.calls.length);
      for (const spy of spies) spy.mockRestore();
      // JavaScript always calls the outermost layer.
      expect(counts).toEqual([5, 1, 1, 1, 1]);
    });

    test("past a TypeScript filter without the method, and not past one with it", async () => {
      const lower = await recordingPlugin();
      const none = scriptLayer("filter", defineFilter({ name: "none" }));
      const { top } = await opened([await everyCallback("1.30"), none, lower]);
      expect(await askedThrice(top, lower, "pread")).toEqual({ javascript: 1, c: 3 });
      const between = everyMethod("between");
      const other = await opened([await everyCallback("1.30"), between, lower]);
      expect(await askedThrice(other.top, lower, "pread")).toEqual({ javascript: 3, c: 3 });
    });

    test("only to layers that offer them", async () => {
      const lower = withoutShortcut(await recordingPlugin());
      const { top } = await opened([await everyCallback("1.30"), lower]);
      expect(await askedThrice(top, lower, "pread")).toEqual({ javascript: 3, c: 3 });
    });

    test("not for requests with flags, zeroes and extents", async () => {
      const lower = await recordingPlugin();
      const { top } = await opened([await everyCallback("1.30"), lower]);
      for (let i = 0; i < 3; i++) await requests["pwrite"]?.(top);
      const spies = (["pwrite", "zero", "extents"] as const).map((it) => spyOn(lower, it));
      for (let i = 0; i < 3; i++) {
        await top.pwrite(new Uint8Array(512), 0n, FLAG_FUA);
        await top.zero(512, 0n, FLAG_MAY_TRIM);
        await mapOf(top, 0n, 512);
      }
      const counts = spies.map((spy) => spy.mock.calls.length);
      for (const spy of spies) spy.mockRestore();
      expect(counts).toEqual([3, 3, 3]);
    });

    test("not with -v, since debug lines report each request", async () => {
      const args = [
        `--filter=${await everyCallbackPath("1.36")}`,
        `--filter=${await everyCallbackPath("1.12")}`,
      ];
      await using server = await serve(["-v", ...args, await recordingPluginPath()]);
      const { client } = await NbdClient.ready({ unix: server.socket });
      for (let i = 0; i < 5; i++) await client.ask({ type: 0, offset: 512n, count: 1024 });
      client.terminate();
      const { stderr } = await server.stop();
      for (const name of ["1x36", "1x12", "disk"]) {
        const lines = stderr
          .split("\n")
          .filter((it) => it.endsWith(`: ${name}: pread count=1024 offset=512`));
        expect([name, lines.length]).toEqual([name, 5]);
      }
    });
  });

  describe("do not change", () => {
    recordErrors();
    const stacks: readonly (readonly (ReleaseId | "lens" | "ts")[])[] = [
      ["1.30"],
      ["original", "1.44"],
      ["1.44", "original"],
      releaseIds.filter((id) => /^1\.\d+$/.test(id) && id !== "1.44"),
      ["1.36", "ts", "1.26", "1.2"],
      ["1.21.20", "1.25.4", "ts", "1.17.1"],
      ["1.14", "1.10", "1.21.22", "1.21.12"],
      ["1.44", "lens", "1.4"],
      ["1.2", "lens", "lens"],
    ];
    const named = stacks.map((ids) => ({ stack: ids.join(" "), ids }));
    test.each(named)("the results of random requests to $stack", async ({ ids }) => {
      const layers = await Promise.all(
        ids.map((id) =>
          id === "ts" ? everyMethod("ts") : id === "lens" ? lens(777n) : everyCallback(id),
        ),
      );
      layers.push(await recordingPlugin());
      const outcomes: unknown[] = [];
      for (const some of [layers, layers.map(withoutShortcut)]) {
        const connection = await opened(some);
        const random = randomFrom(ids.length);
        const results: unknown[] = [];
        for (let i = 0; i < 150; i++) results.push(await anyRequest(connection.top, random));
        const all = new Uint8Array(Number(await connection.top.getSize()));
        await connection.top.pread(all, 0n, 0);
        await connection.close();
        outcomes.push({ results, disk: Bun.hash(all), calls: recorded() });
      }
      expect(outcomes[0]).toEqual(outcomes[1]);
    });

    test.each(releaseIds)("%s: the errno of failures", async (id) => {
      const some = ["original", "1.2", "1.4", "1.44"] as const;
      const lowers = await Promise.all(some.map(actingFilter));
      for (const lower of lowers) {
        const outcomes: unknown[] = [];
        for (const it of [lower, withoutShortcut(lower)]) {
          const { top } = await opened([await everyCallback(id), it, await recordingPlugin()]);
          await top.pread(new Uint8Array(512), 0n, 0);
          const errnos: unknown[] = [];
          for (const action of [22, 23, 32, 33, 34]) {
            errnos.push(await errnoOf(() => top.pread(new Uint8Array(action), 0n, 0)));
          }
          outcomes.push(errnos);
        }
        expect(outcomes[0]).toEqual(outcomes[1]);
      }
      for (const preserved of [true, false]) {
        const plugin = await recordingPlugin(preserved);
        for (const it of [plugin, withoutShortcut(plugin)]) {
          const { top } = await opened([await everyCallback(id), it]);
          await top.pread(new Uint8Array(512), 0n, 0);
          const errnos: unknown[] = [];
          for (const count of [22, 32, 33]) {
            errnos.push(await errnoOf(() => top.pread(new Uint8Array(count), 0n, 0)));
          }
          expect(errnos).toEqual(["EIO", preserved ? "EDQUOT" : "EIO", "EDQUOT"]);
        }
      }
    });

    test.each(releaseIds)("%s: the limits of the disk and of the layers between", async (id) => {
      const plugin = await recordingPlugin();
      const direct = await opened([await actingFilter(id), plugin]);
      for (let i = 0; i < 2; i++) {
        for (const method of Object.keys(requests)) {
          if (method !== "cache") await requests[method]?.(direct.top);
        }
        forgetRecord();
        for (const action of [1, 2, 3, 4, 5, 6, 7]) {
          const errno = await errnoOf(() => direct.top.pread(new Uint8Array(action), 0n, 0));
          expect([action, errno]).toEqual([action, "EINVAL"]);
        }
        expect(recorded().filter((line) => / \d/.test(line))).toEqual([]);
      }
      for (const middle of [4096n, 1n << 40n]) {
        const sized = scriptLayer("filter", defineFilter({ name: "sized", getSize: () => middle }));
        const { top } = await opened([await actingFilter(id), sized, plugin], {
          "acting-size": "1000000",
        });
        const end = middle === 4096n ? 4096n : 65536n;
        for (let i = 0; i < 3; i++) {
          for (const [offset, errno] of [
            [0n, "no error"],
            [end - 512n, "no error"],
            [end - 511n, "EINVAL"],
            [end, "EINVAL"],
            [end + 4096n, "EINVAL"],
          ] as const) {
            const buf = new Uint8Array(512);
            expect([offset, await errnoOf(() => top.pread(buf, offset, 0))]).toEqual([
              offset,
              errno,
            ]);
            expect([offset, await errnoOf(() => top.pwrite(buf, offset, 0))]).toEqual([
              offset,
              errno,
            ]);
          }
        }
      }
    });

    test("the results of many requests at once", async () => {
      const filters = await Promise.all(
        (["1.44", "original"] as const).map((id) => everyCallback(id)),
      );
      const layers = [...filters, await recordingPlugin()];
      const { top } = await opened(layers);
      const part = 1024;
      await Promise.all(
        Array.from({ length: 128 }, async (_, i) => {
          const at = (i % 64) * part;
          if (i < 64 && i % 3 !== 0) return;
          const data = new Uint8Array(part).fill(i);
          await top.pwrite(data, BigInt(at), 0);
          await top.pread(new Uint8Array(part), BigInt(at), 0);
        }),
      );
      const all = new Uint8Array(size);
      await top.pread(all, 0n, 0);
      // If two wrote at once, either may be the last.
      for (let at = 0; at < size; at += part) {
        const found = all.subarray(at, at + part);
        const i = at / part;
        expect([i, i + 64]).toContain(found[0] ?? -1);
        expect(new Set(found).size).toBe(1);
      }
    });
  });

  describe("are revoked", () => {
    const reopening = releaseIds.slice(releaseIds.indexOf("1.16"), releaseIds.indexOf("1.24") + 1);

    test.each(reopening)("%s: if a filter further down reopens the layers below it", async (id) => {
      const numbered = nativeLayer("plugin", await compileModule("test/fixtures/numbered.c"));
      const layers = [await everyCallback("1.36"), await actingFilter(id), numbered];
      const { top } = await opened(layers);
      for (let number = 1; number < 4; number++) {
        for (let i = 0; i < 3; i++) {
          const buf = new Uint8Array(64);
          await top.pread(buf, 0n, 0);
          expect(buf[0]).toBe(number);
          // This shortcut leads past the filter that reopens.
          expect(await errnoOf(() => top.pwrite(buf, 0n, 0))).toBe("no error");
        }
        expect(await errnoOf(() => top.pread(new Uint8Array(29), 0n, 0))).toBe("no error");
      }
    });
  });
});

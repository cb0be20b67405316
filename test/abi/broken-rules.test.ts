/** Filters of every layout that break nbdkit's rules: the request fails, the log names the rule, all else goes on. */
import { beforeAll, describe, expect, test } from "bun:test";

import { type ReleaseId, releaseIds } from "#abi/generated/releases.gen";
import { defineFilter, Extents, type NextOps } from "#api";
import { configuredChain, diskPlugin, errnoOf, openConnection } from "#test/chain";
import { NbdClient, type RequestFields } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { nativeLayer, scriptLayer } from "#test/native";
import { serve } from "#test/server";

import type { Chain } from "../../src/chain/chain.ts";
import { actingFilter, actingPath } from "./acting.ts";
import { everyMethod, forgetRecord, recorded, recordingScript } from "./every-callback.ts";
import { recordErrors } from "./logged-errors.ts";

/** Lacks every optional capability. */
const limiter = defineFilter({
  name: "limiter",
  canFlush: () => false,
  canTrim: () => false,
  canZero: () => "none" as const,
  canFastZero: () => false,
  canFua: () => "none" as const,
  canCache: () => "none" as const,
});

interface Setup {
  readonly limited?: boolean;
  readonly canWrite?: boolean;
  readonly texts?: Readonly<Record<string, string>>;
}

async function chainOf(id: ReleaseId, { limited, canWrite = true, texts = {} }: Setup = {}) {
  const disk = Uint8Array.from({ length: 65536 }, (_, i) => (i * 7) % 251);
  const calls: string[] = [];
  const layers = [await actingFilter(id)];
  if (limited === true) layers.push(scriptLayer("filter", limiter));
  layers.push(scriptLayer("plugin", diskPlugin(disk, calls, { canWrite })));
  return { chain: await configuredChain(layers, texts), calls };
}

const opened = (chain: Chain) => openConnection(chain, { exportName: "it" });

/** Makes the filter do `action`: acting.c chooses by the length of the read. */
const act = (top: NextOps, action: number) =>
  errnoOf(() => top.pread(new Uint8Array(action), 0n, 0));

/** Checks that a plain read still passes all layers. */
async function works(top: NextOps): Promise<void> {
  const buf = new Uint8Array(512);
  await top.pread(buf, 7n, 0);
  expect(buf).toEqual(Uint8Array.from({ length: 512 }, (_, i) => ((7 + i) * 7) % 251));
}

const since = (from: ReleaseId, to: ReleaseId = "1.44") =>
  releaseIds.slice(releaseIds.indexOf(from), releaseIds.indexOf(to) + 1);

interface Rule {
  readonly action: number;
  /** The request to the layer below, as the log names it. */
  readonly asked: string;
  readonly from?: ReleaseId;
}

const outside = ", outside its size (65536)";
/** Requests to a layer that can do everything. */
const ranges: readonly Rule[] = [
  { action: 1, asked: `pread count=2 offset=65535${outside}` },
  { action: 2, asked: `pread count=0 offset=0${outside}` },
  { action: 3, asked: `pread count=2 offset=18446744073709551615${outside}` },
  { action: 4, asked: `pread count=4294967295 offset=0${outside}` },
  { action: 5, asked: `pwrite count=2 offset=65535${outside}` },
  { action: 6, asked: `trim count=2 offset=65535${outside}` },
  { action: 7, asked: `zero count=2 offset=65535${outside}` },
  { action: 12, asked: "pread with flags 1024, which takes none", from: "1.4" },
  { action: 13, asked: "pwrite with unknown flags 1024", from: "1.4" },
  { action: 15, asked: "trim with unknown flags 1", from: "1.4" },
  { action: 16, asked: "zero with unknown flags 1024", from: "1.4" },
  { action: 17, asked: "flush with flags 2, which takes none", from: "1.4" },
  { action: 18, asked: "extents with unknown flags 1024", from: "1.12" },
  { action: 19, asked: `extents count=2 offset=65535${outside}`, from: "1.12" },
];
/** Requests to a layer that can only read and write. */
const abilities: readonly Rule[] = [
  { action: 9, asked: "trim, which it cannot do" },
  { action: 10, asked: "zero, which it cannot do" },
  { action: 11, asked: "flush, which it cannot do" },
  { action: 14, asked: "pwrite with FUA, which it cannot do", from: "1.4" },
  { action: 20, asked: "cache, which it cannot do", from: "1.14" },
  { action: 21, asked: "zero, which it cannot do", from: "1.15.1" },
];
/** Requests to a read-only layer. */
const writes: readonly Rule[] = [
  { action: 8, asked: "pwrite, which it cannot do" },
  { action: 9, asked: "trim, which it cannot do" },
  { action: 10, asked: "zero, which it cannot do" },
];

describe.skipIf(!haveCompiler)("filters that break nbdkit's rules (needs cc)", () => {
  const logged = recordErrors();
  beforeAll(async () => {
    await Promise.all(releaseIds.map(actingFilter));
  }, 60_000);

  async function checkRules(id: ReleaseId, rules: readonly Rule[], setup: Setup) {
    const { chain, calls } = await chainOf(id, setup);
    const connection = await opened(chain);
    const below = setup.limited === true ? "limiter" : "disk";
    // In the second round, shortcuts exist for the allowed requests.
    for (let i = 0; i < 2; i++) {
      await works(connection.top);
      for (const { action, asked, from = "original" } of rules) {
        if (!since(from).includes(id)) continue;
        calls.length = 0;
        expect([asked, await act(connection.top, action)]).toEqual([asked, "EINVAL"]);
        expect(logged()).toEqual([`disk[1]: acting: ${below} was asked for ${asked}`]);
        expect(calls).toEqual([]);
      }
      await works(connection.top);
    }
    const other = await opened(chain);
    await works(other.top);
    await other.close();
    await connection.close();
    expect(logged()).toEqual([]);
  }

  describe("calls of the layer below fail with EINVAL", () => {
    test.each(releaseIds)("%s: beyond the end of the disk, and with unknown flags", (id) =>
      checkRules(id, ranges, {}),
    );
    test.each(releaseIds)("%s: if the layer lacks the capability", (id) =>
      checkRules(id, abilities, { limited: true }),
    );
    test.each(releaseIds)("%s: if they write and the layer is read-only", (id) =>
      checkRules(id, writes, { canWrite: false }),
    );
  });

  describe("return values", () => {
    test.each(releaseIds)("%s: -1 without errno is EIO, with an unknown one EINVAL", async (id) => {
      const { chain } = await chainOf(id);
      const { top } = await opened(chain);
      expect(await act(top, 22)).toBe("EIO");
      // nbdkit sends its clients the same.
      expect(await act(top, 23)).toBe("EINVAL");
      await works(top);
    });

    test.each(releaseIds)("%s: neither 0 nor -1 is EIO", async (id) => {
      const { chain } = await chainOf(id);
      const { top } = await opened(chain);
      expect(await act(top, 24)).toBe("EIO");
      await works(top);
    });

    test("neither 0 nor -1 is EIO for a C filter above that takes a shortcut", async () => {
      const above = nativeLayer("filter", await compileModule("examples/xor/xor.c"));
      const plugin = scriptLayer("plugin", diskPlugin(new Uint8Array(65536), []));
      const layers = [above, await actingFilter("1.44"), plugin];
      const { top } = await opened(await configuredChain(layers, { "xor-key": "1" }));
      // The shortcut exists from the second read on.
      for (let i = 0; i < 3; i++) {
        expect(await errnoOf(() => top.pread(new Uint8Array(512), 0n, 0))).toBe("no error");
        expect(await act(top, 24)).toBe("EIO");
      }
    });

    const requests: Readonly<Record<string, RequestFields>> = {
      pread: { type: 0, count: 512 },
      pwrite: { type: 1, payload: new Uint8Array(512) },
      flush: { type: 3 },
      trim: { type: 4, count: 512 },
      cache: { type: 5, count: 512 },
      zero: { type: 6, count: 512 },
    };

    test.each([1, 2])("neither 0 nor -1 is EIO from a plugin of API %i", async (api) => {
      const path = await compileModule("test/fixtures/returning.c", {
        defines: { NBDKIT_API_VERSION: String(api) },
        name: `returning-${api}`,
      });
      const used = Object.entries(requests).filter(([name]) => api === 2 || name !== "cache");
      for (const [returns, expectedError] of [
        ["0", 0],
        ["-1", 28], // ENOSPC
        ["42", 5], // EIO
        ["-2", 5],
      ] as const) {
        await using server = await serve([path, `returns=${returns}`]);
        const { client } = await NbdClient.ready({ unix: server.socket });
        for (const [name, request] of used) {
          expect([name, (await client.ask(request)).error]).toEqual([name, expectedError]);
        }
        client.terminate();
        const { stderr } = await server.stop();
        const expected = used.map(
          ([name]) =>
            `nbdkit: returning[1]: error: plugin returning (PATH): ${name} returned ${returns}: expected 0 or -1\n`,
        );
        expect(stderr.replaceAll(path, "PATH")).toBe(expectedError === 5 ? expected.join("") : "");
      }
    });

    test.each(releaseIds)("%s: a negative size is EIO, the largest size works", async (id) => {
      for (const size of ["-5", "-9223372036854775808"]) {
        const { chain } = await chainOf(id, { texts: { "acting-size": size } });
        const { top } = await opened(chain);
        expect(await errnoOf(() => top.getSize())).toBe("EIO");
        expect(await errnoOf(() => top.pread(new Uint8Array(512), 0n, 0))).toBe("EIO");
      }
      const { chain } = await chainOf(id, { texts: { "acting-size": "9223372036854775807" } });
      const { top } = await opened(chain);
      expect(await top.getSize()).toBe(9223372036854775807n);
      expect(await errnoOf(() => top.pread(new Uint8Array(512), 2n ** 62n, 0))).toBe("EINVAL");
      expect(logged()).toEqual([
        `disk[1]: acting: disk was asked for pread count=512 offset=${2n ** 62n}${outside}`,
      ]);
    });

    test.each(since("1.12"))("%s: invalid lists of extents fail", async (id) => {
      const { chain } = await chainOf(id);
      const { top } = await opened(chain);
      const map = async (count: number) => {
        const extents = new Extents(512n, 65536n);
        const errno = await errnoOf(() => top.extents(count, 512n, 0, extents));
        return { errno, entries: extents.entries };
      };
      for (const count of [1, 4]) expect(await map(count)).toMatchObject({ errno: "EINVAL" });
      expect(await map(2)).toMatchObject({ errno: "ERANGE" });
      // The extents before the mistake are kept.
      expect(await map(3)).toEqual({
        errno: "no error",
        entries: [{ offset: 512n, length: 512n, type: 0 }],
      });
      expect((await map(512)).errno).toBe("no error");
    });
  });

  describe("threads of the filter's own", () => {
    test.each(releaseIds)("%s: may call the layer below with NULL for the errno", async (id) => {
      const { chain } = await chainOf(id);
      const { top } = await opened(chain);
      for (let i = 0; i < 3; i++) {
        expect(await act(top, 25)).toBe("no error");
        expect(await act(top, 26)).toBe("EINVAL");
      }
      expect(logged().every((line) => line.includes("pread count=512 offset=65535, outside"))).toBe(
        true,
      );
    });

    test.each(releaseIds)("%s: get EINVAL after the connection has closed", async (id) => {
      const { chain, calls } = await chainOf(id);
      const first = await opened(chain);
      await works(first.top);
      await first.close();
      const second = await opened(chain);
      await works(second.top);
      calls.length = 0;
      for (const action of [27, 28]) expect(await act(second.top, action)).toBe("EINVAL");
      expect(calls).toEqual([]);
      await works(second.top);
    });
  });

  describe("reopen", () => {
    test.each(since("1.16", "1.24"))("%s: closes the layers below and opens them", async (id) => {
      const layers = [await actingFilter(id), everyMethod("ts"), recordingScript()];
      const { top } = await opened(await configuredChain(layers, {}));
      await top.getSize();
      for (const [action, ro] of [
        [30, 1],
        [29, 0],
      ] as const) {
        forgetRecord();
        expect(await act(top, action)).toBe("no error");
        // The export name became an argument in 1.21.20.
        const name = since("1.21.20").includes(id) ? "again" : "it";
        expect(recorded()).toEqual([
          ...["ts finalize", "ts close", "disk close"],
          `ts open ro=${ro} name=${name} tls=0`,
          `disk open ro=${ro} name=${name} tls=0`,
          `ts prepare ro=${ro}`,
        ]);
      }
    });

    test.each(since("1.16", "1.24"))("%s: takes effect at once", async (id) => {
      const { chain } = await chainOf(id);
      const { top } = await opened(chain);
      await works(top);
      await top.pwrite(new Uint8Array(512), 0n, 0);
      expect(await act(top, 8)).toBe("no error");
      expect(await act(top, 30)).toBe("no error");
      // It also ends shortcuts.
      expect(await act(top, 8)).toBe("EINVAL");
      expect(logged()).toEqual(["disk[1]: acting: disk was asked for pwrite, which it cannot do"]);
      expect(await act(top, 29)).toBe("no error");
      expect(await act(top, 8)).toBe("no error");
    });
  });

  describe("in a server", () => {
    const asks = (client: NbdClient, count: number) => client.ask({ type: 0, offset: 0n, count });

    test.each(["original", "1.4", "1.16", "1.24", "1.44"] as const)(
      "%s: a call through the pointer of a client that has left is refused, and logged once",
      async (id) => {
        const path = await actingPath(id);
        await using server = await serve([`--filter=${path}`, "memory", "64k"]);
        const { client: first } = await NbdClient.ready({ unix: server.socket });
        expect((await asks(first, 512)).error).toBe(0);
        first.request({ type: 2 });
        await first.closed;
        const { client: second } = await NbdClient.ready({ unix: server.socket });
        // The filter returns EIO until its first connection is closed.
        for (let answer = 5; answer === 5;) answer = (await asks(second, 27)).error;
        for (const action of [27, 28, 27, 28, 1, 22]) {
          expect((await asks(second, action)).error).toBeGreaterThan(0);
        }
        expect((await asks(second, 512)).error).toBe(0);
        second.terminate();
        const { code, stderr } = await server.stop();
        expect(code).toBe(0);
        const lines = stderr.replaceAll(path, "PATH").trimEnd().split("\n");
        // This line appears only if the call came between finalize and close.
        expect(lines.filter((line) => !line.endsWith("but it is not open"))).toEqual([
          "nbdkit: error: filter acting (PATH) called the layer below by a pointer that is not valid any more",
          "nbdkit: memory[2]: error: acting: memory was asked for pread count=2 offset=65535, outside its size (65536)",
        ]);
      },
    );

    test.each(["original", "1.14", "1.44"] as const)(
      "%s: a thread of the filter's own may call the server's functions",
      async (id) => {
        await using server = await serve([`--filter=${await actingPath(id)}`, "memory", "64k"]);
        const { client } = await NbdClient.ready({ unix: server.socket });
        for (let i = 0; i < 3; i++) expect((await asks(client, 31)).error).toBe(0);
        expect((await asks(client, 512)).error).toBe(0);
        client.terminate();
        const { code, stderr } = await server.stop();
        expect(code).toBe(0);
        // The log names no client, and the functions report that there is none.
        expect(stderr).not.toContain("memory[1]");
        expect(stderr).not.toContain("but it has a name");
        expect(stderr.match(/1x/g)?.length).toBe(3);
      },
    );
  });
});

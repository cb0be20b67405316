/** Filters since 1.25.4 that open further contexts of the layers below, and install them in a client's stack. */
import { beforeAll, describe, expect, test } from "bun:test";

import { type ReleaseId, releaseIds } from "#abi/generated/releases.gen";
import { definePlugin, NbdError, type NextOps } from "#api";
import { clientOf, configuredChain, errnoOf, openConnection } from "#test/chain";
import { NbdClient } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { layerOnce, nativeLayer, scriptLayer } from "#test/native";
import { serve } from "#test/server";

import { releaseMacro } from "../../codegen/names.ts";
import type { Chain } from "../../src/chain/chain.ts";
import type { Layer } from "../../src/chain/layer.ts";
import { everyCallback, everyMethod, forgetRecord, recorded } from "./every-callback.ts";
import { recordErrors } from "./logged-errors.ts";

const ids = releaseIds.slice(releaseIds.indexOf("1.25.4"));

/** The actions of test/fixtures/contexts.c. */
const does = {
  open: 1,
  openShared: 2,
  prepare: 3,
  pread: 4,
  pwrite: 5,
  finalize: 6,
  close: 7,
  putBelow: 8,
  putBack: 9,
  putNothing: 10,
  useOwnContext: 11,
  putMemory: 12,
  putAgain: 13,
  openOfNull: 14,
  closeNull: 15,
  openOnThread: 16,
  openReadonly: 17,
  getSize: 18,
  closeOwn: 19,
  preadBeyond: 20,
} as const;

const contextsPath = (id: ReleaseId) =>
  compileModule("test/fixtures/contexts.c", {
    defines: { NBDKIT_FILTER_RELEASE: releaseMacro(id) },
    name: `contexts-${id}`,
  });
const numberedPath = () => compileModule("test/fixtures/numbered.c");

const contexts = (id: ReleaseId) =>
  layerOnce(`contexts ${id}`, async () => nativeLayer("filter", await contextsPath(id)));

/** The same as test/fixtures/numbered.c. */
function numberedScript(): Layer {
  let handles = 0;
  return scriptLayer(
    "plugin",
    definePlugin({
      name: "numbered",
      open: (_config, readonly) => ({ byte: ++handles | (readonly ? 128 : 0) }),
      close(handle) {
        handle.byte = 255;
      },
      getSize: ({ byte }) => (byte % 128 === 1 ? 65536n : 32768n),
      pread: ({ byte }, buf) => void buf.fill(byte),
      pwrite({ byte }) {
        if (byte > 127) throw new NbdError("EBADF", "");
      },
    }),
  );
}

/** The layers above and below the filter under test. */
const places: Readonly<Record<string, () => Promise<readonly [above: Layer[], below: Layer[]]>>> = {
  "above TypeScript": async () => [[], [numberedScript()]],
  "above C": async () => [[], [await numberedC()]],
  "above C above C": async () => [[], [await everyCallback("1.30"), await numberedC()]],
  "above TypeScript above C": async () => [[], [everyMethod("ts"), await numberedC()]],
  "below C, above C": async () => [[await everyCallback("1.36")], [await numberedC()]],
};
const numberedC = () =>
  layerOnce("numbered", async () => nativeLayer("plugin", await numberedPath()));

async function chainOf(
  id: ReleaseId,
  [above, below]: readonly [Layer[], Layer[]],
  texts: Readonly<Record<string, string>> = {},
): Promise<Chain> {
  return configuredChain([...above, await contexts(id), ...below], texts);
}

const opened = (chain: Chain, id = 1) =>
  openConnection(chain, { client: clientOf(chain, id), exportName: "it" });

/** Makes the filter do the action. Returns the byte that it read, or the error. */
async function act(top: NextOps, action: keyof typeof does): Promise<number | string> {
  const buf = new Uint8Array(does[action]);
  const errno = await errnoOf(() => top.pread(buf, 0n, 0));
  return errno === "no error" ? (buf[0] ?? 0) : errno;
}

async function byteOf(top: NextOps): Promise<number | undefined> {
  const buf = new Uint8Array(64);
  await top.pread(buf, 0n, 0);
  return buf[0];
}

const errnos: readonly unknown[] = ["EBADMSG", "EINVAL"];

describe.skipIf(!haveCompiler)("contexts that a filter opens (needs cc)", () => {
  const logged = recordErrors();
  beforeAll(async () => {
    await Promise.all([...ids.map(contexts), numberedC(), everyCallback("1.30")]);
  }, 60_000);

  for (const [where, place] of Object.entries(places)) {
    describe(where, () => {
      const start = async (id: ReleaseId) => {
        const chain = await chainOf(id, await place());
        const connection = await opened(chain);
        return { chain, connection, top: connection.top };
      };

      test.each(ids)("%s: work beside the client's own", async (id) => {
        const { connection, top } = await start(id);
        expect(await top.getSize()).toBe(65536n);
        for (const [round, open] of (["open", "openShared", "openOnThread"] as const).entries()) {
          expect([await act(top, open), await act(top, "prepare")]).toEqual([0, 0]);
          // From the second time on it may be a shortcut.
          for (let i = 0; i < 3; i++) {
            expect([await act(top, "pread"), await byteOf(top)]).toEqual([round + 2, 1]);
            expect([await act(top, "pwrite"), await act(top, "getSize")]).toEqual([0, 8]);
          }
          expect([await act(top, "finalize"), await act(top, "close")]).toEqual([0, 0]);
          expect(await byteOf(top)).toBe(1);
        }
        expect(logged()).toEqual([]);
        await connection.close();
      });

      test.each(ids)("%s: replace the client's own until it is installed again", async (id) => {
        const { connection, top } = await start(id);
        const write = () => errnoOf(() => top.pwrite(new Uint8Array(64), 0n, 0));
        for (let round = 0; round < 3; round++) {
          for (let i = 0; i < 3; i++)
            expect([await byteOf(top), await write()]).toEqual([1, "no error"]);
          await act(top, round === 1 ? "openReadonly" : "open");
          await act(top, "prepare");
          for (let i = 0; i < 2; i++) await act(top, "pread");
          expect(await act(top, "putBelow")).toBe(0);
          const number = round + 2;
          for (let i = 0; i < 3; i++) {
            expect(await byteOf(top)).toBe(round === 1 ? number + 128 : number);
            expect(await write()).toBe(round === 1 ? "EINVAL" : "no error");
          }
          expect(await act(top, "putBack")).toBe(0);
          for (let i = 0; i < 3; i++)
            expect([await byteOf(top), await write()]).toEqual([1, "no error"]);
          expect([await act(top, "finalize"), await act(top, "close")]).toEqual([0, 0]);
        }
        expect(
          logged().every((line) => line.endsWith("was asked for pwrite, which it cannot do")),
        ).toBe(true);
        await connection.close();
      });

      test.each(ids)("%s: are closed with the client while they are installed", async (id) => {
        const { chain, connection, top } = await start(id);
        await act(top, "open");
        await act(top, "prepare");
        await act(top, "putBelow");
        expect(await byteOf(top)).toBe(2);
        await connection.close();
        const next = await opened(chain, 2);
        expect(await byteOf(next.top)).toBe(3);
        await next.close();
        expect(logged()).toEqual([]);
      });

      test.each(ids)("%s: fail requests before prepare and after finalize", async (id) => {
        const { connection, top } = await start(id);
        await act(top, "open");
        expect(await act(top, "pread")).toBe("EINVAL");
        await act(top, "prepare");
        // A second prepare does nothing.
        await act(top, "prepare");
        for (let i = 0; i < 3; i++) expect(await act(top, "pread")).toBe(2);
        expect(await act(top, "preadBeyond")).toBe("EINVAL");
        await act(top, "finalize");
        await act(top, "finalize");
        for (let i = 0; i < 2; i++) expect(await act(top, "pread")).toBe("EINVAL");
        await act(top, "close");
        logged();
        for (const action of ["pread", "prepare", "finalize"] as const) {
          expect(errnos).toContain(await act(top, action));
        }
        // A second close and a close of NULL do nothing.
        expect([await act(top, "close"), await act(top, "closeNull")]).toEqual([0, 0]);
        expect(await byteOf(top)).toBe(1);
        await connection.close();
      });

      test.each(ids)("%s: may be closed while they are installed", async (id) => {
        const { chain, connection, top } = await start(id);
        await act(top, "open");
        await act(top, "prepare");
        await act(top, "putBelow");
        for (let i = 0; i < 3; i++) await byteOf(top);
        await act(top, "close");
        // Requests fail without a context, but the filter goes on.
        for (let i = 0; i < 2; i++) expect(await errnoOf(() => byteOf(top))).toBe("EINVAL");
        expect(await act(top, "putBack")).toBe(0);
        expect(await byteOf(top)).toBe(1);
        await connection.close();
        expect(await byteOf((await opened(chain, 2)).top)).toBe(3);
      });

      test.each(ids)("%s: the filter may also close the client's own", async (id) => {
        const { chain, connection, top } = await start(id);
        for (let i = 0; i < 3; i++) await byteOf(top);
        await act(top, "closeOwn");
        for (let i = 0; i < 2; i++) expect(await errnoOf(() => byteOf(top))).toBe("EINVAL");
        await connection.close();
        expect(await byteOf((await opened(chain, 2)).top)).toBe(2);
      });

      test.each(ids)("%s: the filter may remove the client's own", async (id) => {
        const { chain, connection, top } = await start(id);
        expect(await byteOf(top)).toBe(1);
        expect(await act(top, "putNothing")).toBe(0);
        await connection.close();
        // The filter has to close what it removed.
        expect(await byteOf((await opened(chain, 2)).top)).toBe(2);
      });

      test.each(ids.slice(1))("%s: may serve all clients", async (id) => {
        const chain = await chainOf(id, await place(), { "contexts-shared": "1" });
        const clients = await Promise.all([1, 2, 3].map((number) => opened(chain, number)));
        for (let i = 0; i < 3; i++) {
          for (const { top } of clients) expect(await byteOf(top)).toBe(1);
        }
        await clients[0]?.close();
        for (const { top } of clients.slice(1)) expect(await byteOf(top)).toBe(1);
        const late = await opened(chain, 4);
        expect(await byteOf(late.top)).toBe(1);
        for (const connection of [...clients.slice(1), late]) await connection.close();
        await chain.cleanup();
        expect(logged()).toEqual([]);
      });
    });
  }

  test.each(ids)("%s: make the calls to the layers below that nbdkit makes", async (id) => {
    const chain = await chainOf(id, [[], [everyMethod("ts"), numberedScript()]]);
    const { top } = await opened(chain);
    await top.getSize();
    await top.canWrite();
    const step = async (action: keyof typeof does) => {
      forgetRecord();
      await act(top, action);
      return recorded();
    };
    expect(await step("open")).toEqual(["ts open ro=0 name=other tls=0"]);
    expect(await step("prepare")).toEqual(["ts prepare ro=0"]);
    expect(await step("getSize")).toEqual(["ts get_size"]);
    expect(await step("pread")).toEqual(["ts pread 1 0 flags=0"]);
    expect(await step("pwrite")).toEqual(["ts can_write", "ts pwrite 1 0 flags=0"]);
    expect(await step("putBelow")).toEqual([]);
    expect(await step("putBack")).toEqual([]);
    expect(await step("finalize")).toEqual(["ts finalize"]);
    expect(await step("close")).toEqual(["ts close"]);
    expect(await step("openReadonly")).toEqual(["ts open ro=1 name=other tls=0"]);
    expect(await step("prepare")).toEqual(["ts prepare ro=1"]);
    await step("finalize");
    await step("close");
  });

  test.each(ids)("%s: invalid contexts are refused", async (id) => {
    const chain = await chainOf(id, [[], [numberedScript()]]);
    const { top } = await opened(chain);
    for (const [action, words] of [
      ["useOwnContext", "used its own context as the next one"],
      ["putMemory", "named a next context that it has not opened"],
    ] as const) {
      expect(errnos).toContain(await act(top, action));
      expect(logged()).toEqual([expect.stringContaining(words)]);
    }
    expect(await act(top, "openOfNull")).toBe("EBADMSG");
    // It installs the context that is already installed.
    expect(await act(top, "putAgain")).toBe(0);
    expect(await byteOf(top)).toBe(1);
  });

  test.each(["1.25.4", "1.30", "1.44"] as const)(
    "%s: any misuse of them leaves the server running",
    async (id) => {
      const path = await contextsPath(id);
      await using server = await serve([`--filter=${path}`, await numberedPath()]);
      const { client } = await NbdClient.ready({ unix: server.socket });
      const { client: other } = await NbdClient.ready({ unix: server.socket });
      const ask = async (action: keyof typeof does) =>
        (await client.ask({ type: 0, offset: 0n, count: does[action] })).error;
      const good = async (it: NbdClient) =>
        expect((await it.ask({ type: 0, offset: 0n, count: 512 })).error).toBe(0);
      const wrong = ["pread", "finalize", "prepare", "close", "putBelow", "useOwnContext"] as const;
      for (let i = 0; i < 3; i++) {
        expect(await ask("open")).toBe(0);
        await ask("close");
        for (const action of [...wrong, "putMemory", "openOfNull", "close"] as const) {
          await ask(action);
          await good(other);
          await good(client);
        }
      }
      // The server closes the context that the filter leaves open.
      expect(await ask("open")).toBe(0);
      client.terminate();
      await good(other);
      const { client: third } = await NbdClient.ready({ unix: server.socket });
      await good(third);
      third.terminate();
      other.terminate();
      const { code, stderr } = await server.stop();
      expect(code).toBe(0);
      expect(stderr).toContain(
        `filter contexts (${path}) called the layer below by a pointer that`,
      );
      expect(stderr).toContain("named a next context that it has not opened");
    },
  );
});

/** How the server's options change the handshake: masked flags, no metadata contexts, time limits, and oldstyle. */
import { afterEach, beforeEach, describe, expect, jest, test } from "bun:test";

import { bytes, infoPayload, metaPayload, NbdClient, option, request } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { installed, serve } from "#test/server";

import { Held, NbdError, quiet, running, turns, until } from "./server-fixture.ts";

const ERR_UNSUP = 0x80000001;
const ERR_POLICY = 0x80000002;
const ERR_INVALID = 0x80000003;
const base = "base:allocation";

let logged: ReturnType<typeof quiet>;
beforeEach(() => {
  logged = quiet();
});
afterEach(() => {
  logged[Symbol.dispose]();
});

const types = (replies: readonly { readonly type: number }[]) => replies.map(({ type }) => type);
const latin1 = (text: string) => Uint8Array.from(Buffer.from(text, "latin1"));

describe("a mask of the handshake's flags", () => {
  test.each([
    { mask: 0, flags: 0 },
    { mask: 1, flags: 1 },
    { mask: 2, flags: 2 },
    { mask: 0xfffe, flags: 2 },
    { mask: 0xffff, flags: 3 },
  ])("of $mask leaves flags $flags, and no others may be used", async ({ mask, flags }) => {
    await using it = await running({ policy: { maskHandshake: mask } });
    const client = await it.connect();
    expect(await client.hello(flags)).toBe(flags);
    const noZeroes = (flags & 2) !== 0;
    expect((await client.exportName("", noZeroes)).zeroes.length).toBe(noZeroes ? 0 : 124);
    expect((await client.ask({ type: 0, count: 8 })).error).toBe(0);
    if (flags === 3) return;
    const other = await it.connect();
    await other.hello(3);
    await other.closed;
  });
});

describe("without meta contexts", () => {
  test("both options return ERR_UNSUP, and structured replies stay", async () => {
    await using it = await running({ policy: { metaContexts: false } });
    const client = await it.connect();
    await client.hello();
    expect(types(await client.option(8))).toEqual([1]);
    expect(types(await client.option(9, metaPayload("", [])))).toEqual([ERR_UNSUP]);
    expect(types(await client.option(10, metaPayload("", [base])))).toEqual([ERR_UNSUP]);
    expect(types(await client.option(10, new Uint8Array(2 << 20)))).toEqual([ERR_UNSUP]);
    await client.go();
    expect((await client.askChunk({ type: 0, count: 8 })).type).toBe(1);
    expect((await client.askChunk({ type: 7, count: 8 })).type).toBe(0x8001);
  });
});

describe("STARTTLS while TLS is off", () => {
  test("is refused, and the client may go on in clear text", async () => {
    await using it = await running();
    const client = await it.connect();
    await client.hello();
    expect(types(await client.option(5, new Uint8Array(1)))).toEqual([ERR_INVALID]);
    expect(types(await client.option(5))).toEqual([ERR_POLICY]);
    expect(await client.go()).toHaveProperty("size", 65536n);
  });
});

describe("refusals", () => {
  test("name the reason", async () => {
    await using it = await running();
    const client = await it.connect();
    await client.hello();
    const text = async (number: number, data?: Uint8Array) =>
      new TextDecoder().decode((await client.option(number, data)).at(-1)?.data);
    expect(await text(99)).toBe("unknown option 0x63: the server does not know this option");
    expect(await text(3, new Uint8Array(1))).toBe("NBD_OPT_LIST: it has a payload");
    expect(await text(6, bytes(0))).toBe("NBD_OPT_INFO: its payload has 4 bytes, fewer than 6");
    expect(await text(10, metaPayload(""))).toBe(
      "NBD_OPT_SET_META_CONTEXT: it needs structured replies",
    );
  });
});

describe("names of exports that are not UTF-8", () => {
  test("stay distinct in TypeScript layers, and come back unchanged", async () => {
    const names: string[] = [];
    const plugin = {
      open: (_config: unknown, _readonly: boolean, name: string) => {
        names.push(name);
        return {};
      },
      exportDescription: () => names.at(-1),
    };
    await using it = await running({ plugin });
    const client = await it.connect();
    await client.hello();
    for (const name of [latin1("café"), bytes("café"), latin1("\xff\xfe")]) {
      const replies = await client.option(6, infoPayload(name, [1, 2]));
      expect(replies.slice(1, 3).map(({ data }) => data.subarray(2))).toEqual([name, name]);
    }
    expect(names).toEqual(["caf\udce9", "café", "\udcff\udcfe"]);
    await client.exportName(latin1("x".repeat(4095) + "\xe9"));
    expect(names.at(-1)).toBe("x".repeat(4095) + "\udce9");
  });

  const servers = [
    { which: "nbdkit", program: ["nbdkit"], needs: installed("nbdkit") },
    { which: "this server", program: undefined, needs: true },
  ];
  describe.each(servers)("in C, under $which", ({ program, needs, which }) => {
    const missing = [...(haveCompiler ? [] : ["cc"]), ...(needs ? [] : [which])];
    const suffix = missing.length > 0 ? ` (needs ${missing.join(", ")})` : "";
    test.skipIf(missing.length > 0)(`are the client's bytes${suffix}`, async () => {
      const path = await compileModule("test/fixtures/export-names.c");
      await using server = await serve([path], program === undefined ? {} : { program });
      await using client = await NbdClient.connect({ unix: server.socket });
      await client.hello();
      const listed = (await client.option(3)).slice(0, -1).map(({ data }) => data);
      expect(listed).toEqual([bytes(4, latin1("caf\xe9Latin-1: \xe9")), bytes(5, "café")]);
      const described = await client.option(6, infoPayload(latin1("a\xe9\xff"), [2]));
      expect(described[1]?.data).toEqual(bytes([2, 2], latin1("a\xe9\xff")));
      const named = await client.option(6, infoPayload("", [1, 2]));
      expect(named[1]?.data).toEqual(bytes([2, 1], latin1("\xff")));
      const longest = latin1("\xe9".repeat(4096));
      expect(await client.go(longest)).toHaveProperty("size", 4096n);
      expect((await client.ask({ type: 0, count: 4096 })).data).toEqual(longest);
    });
  });
});

describe("--timeout", () => {
  test.each([
    { what: "says nothing", said: new Uint8Array(0) },
    { what: "stops in the middle of its flags", said: bytes([2, 0]) },
    { what: "stops between options", said: bytes(3, option(3)) },
    { what: "stops in the middle of an option", said: bytes(3, option(7).subarray(0, 9)) },
    { what: "stops in the middle of a payload", said: bytes(3, 0x49484156454f5054n, 7, 100, "x") },
  ])("ends a client that $what", async ({ said }) => {
    await using it = await running({ policy: { timeoutSeconds: 0.05 } });
    const client = await it.connect();
    client.send(said);
    await client.closed;
    await until(() => it.server.connections === 0);
    expect(logged.lines).toContain(
      "disk[1]: error: client spent more than 0.05 s on the handshake",
    );
  });

  test("ends a client that sends byte after byte", async () => {
    await using it = await running({ policy: { timeoutSeconds: 0.1 } });
    const client = await it.connect();
    const said = bytes(3, ...Array.from({ length: 30 }, () => option(99, new Uint8Array(1000))));
    for (let i = 0; i < said.length && !client.over; i++) {
      client.send(said.subarray(i, i + 1));
      await turns(1);
    }
    await client.closed;
  });

  test("ends a client that does not take its error replies", async () => {
    const exports = Array.from({ length: 2000 }, (_, i) => `${i}`.padStart(4000, "x"));
    const listExports = (_c: unknown, _r: boolean, _t: boolean, list: { add(n: string): void }) =>
      exports.forEach((name) => list.add(name));
    await using it = await running({ plugin: { listExports }, policy: { timeoutSeconds: 0.1 } });
    const client = await it.connect();
    client.pause();
    client.send(bytes(3, option(3)));
    await until(() => it.server.connections === 1);
    await until(() => it.server.connections === 0);
  });

  test("begins after preconnect, and ends with the handshake", async () => {
    const held = new Held();
    await using it = await running({
      policy: { timeoutSeconds: 10 },
      plugin: { preconnect: () => held.wait("preconnect") },
    });
    jest.useFakeTimers();
    try {
      const client = await it.connect();
      await held.reached(1);
      jest.advanceTimersByTime(60_000);
      held.release("preconnect");
      await client.hello();
      jest.advanceTimersByTime(9_999);
      await client.go();
      jest.advanceTimersByTime(60_000);
      expect((await client.ask({ type: 0, count: 8 })).error).toBe(0);
      expect(logged.lines).toEqual([]);
    } finally {
      jest.useRealTimers();
    }
  });

  test("closes layers whose open was still running", async () => {
    const held = new Held();
    const events: string[] = [];
    await using it = await running({
      policy: { timeoutSeconds: 0.05 },
      plugin: {
        open: async () => {
          await held.wait("open");
          return {};
        },
        close: () => void events.push("close"),
      },
    });
    const client = await it.connect();
    client.send(bytes(3, option(7, infoPayload(""))));
    await held.reached(1);
    await client.closed;
    held.release("open");
    await until(() => it.server.connections === 0);
    expect(events).toEqual(["close"]);
  });
});

describe("oldstyle", () => {
  const policy = { oldstyle: true };

  test("greets with size and flags, and accepts requests at once", async () => {
    await using it = await running({ policy });
    const client = await it.connect();
    const { size, eflags, zeroes } = await client.oldstyle();
    expect(size).toBe(65536n);
    expect(zeroes).toEqual(new Uint8Array(124));
    const other = await running();
    const { export: modern } = await other.ready();
    await other[Symbol.asyncDispose]();
    expect(eflags).toBe(modern.eflags);
    expect((await client.ask({ type: 0, count: 16 })).data).toEqual(it.disk.subarray(0, 16));
  });

  test("supports everything that its flags offer", async () => {
    await using it = await running({ policy });
    const client = await it.connect();
    await client.oldstyle();
    const payload = new Uint8Array(512).fill(7);
    for (const fields of [
      { type: 1, flags: 1, payload },
      { type: 3 },
      { type: 4, flags: 1, count: 512, offset: 1024n },
      { type: 6, flags: 3, count: 512, offset: 2048n },
    ]) {
      expect(await client.ask(fields)).toHaveProperty("error", 0);
    }
    expect(it.disk.subarray(0, 512)).toEqual(payload);
    // Without structured replies there is neither DF nor block status.
    for (const fields of [
      { type: 0, flags: 4, count: 512 },
      { type: 7, count: 512 },
    ]) {
      expect(await client.ask(fields)).toHaveProperty("error", 22);
    }
  });

  test("refuses writes to a read-only export, and goes on", async () => {
    await using it = await running({ policy: { ...policy, readonly: true } });
    const client = await it.connect();
    expect((await client.oldstyle()).eflags & 2).toBe(2);
    for (const fields of [
      { type: 1, payload: new Uint8Array(512) },
      { type: 4, count: 512 },
      { type: 6, count: 512 },
    ]) {
      expect(await client.ask(fields)).toHaveProperty("error", 1);
    }
    expect((await client.ask({ type: 0, count: 16 })).data).toEqual(it.disk.subarray(0, 16));
  });

  test("opens the default export, and disconnects if that fails", async () => {
    const names: string[] = [];
    const plugin = {
      defaultExport: () => "main",
      open: (_config: unknown, _readonly: boolean, name: string) => {
        names.push(name);
        if (names.length > 1) throw new NbdError("EIO", "once is enough");
        return {};
      },
    };
    await using it = await running({ plugin, policy });
    const client = await it.connect();
    await client.oldstyle();
    const other = await it.connect();
    await other.closed;
    expect(other.available).toBe(0);
    expect(names).toEqual(["main", "main"]);
    client.send(request({ type: 2 }));
    await client.closed;
  });

  const missing = ["nbdkit"].filter((name) => !installed(name));
  const suffix = missing.length > 0 ? ` (needs ${missing.join(", ")})` : "";
  test.skipIf(missing.length > 0)(`greets as nbdkit does${suffix}`, async () => {
    for (const readonly of [[], ["-r"]]) {
      const args = ["-o", ...readonly, "memory", "65536"];
      const greetings = [];
      for (const options of [{ program: ["nbdkit"] }, {}]) {
        await using server = await serve(args, options);
        await using client = await NbdClient.connect({ unix: server.socket });
        greetings.push(await client.take(152));
      }
      expect(greetings[1]).toEqual(greetings[0] ?? new Uint8Array(0));
    }
  });
});

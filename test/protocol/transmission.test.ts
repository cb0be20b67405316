/** Requests and replies on the wire: which requests run, which are refused and how, and data in pieces. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";

import { bytes, type NbdClient, request, type RequestFields } from "#test/client";

import { NbdError, pattern, quiet, running, turns, until } from "./server-fixture.ts";

const [READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZERO, STATUS] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
const [EPERM, EIO, ENOMEM, EINVAL, ENOSPC, EOPNOTSUPP, ESHUTDOWN] = [
  1, 5, 12, 22, 28, 95, 108,
] as const;
const [FUA, NO_HOLE, DF, REQ_ONE, FAST] = [1, 2, 4, 8, 16] as const;
const MiB = 1 << 20;

let logged: ReturnType<typeof quiet>;
beforeEach(() => {
  logged = quiet();
});
afterEach(() => {
  logged[Symbol.dispose]();
});

/** The connection still works, and the server reads requests correctly. */
async function alive(client: NbdClient): Promise<void> {
  const reply = await client.ask({
    type: READ,
    offset: 256n,
    count: 3,
    cookie: 0xfedcba9876543210n,
  });
  expect(reply).toEqual({
    error: 0,
    cookie: 0xfedcba9876543210n,
    data: pattern(65536).subarray(256, 259),
  });
}

describe.each([{ later: false }, { later: true }])("answers later=$later", ({ later }) => {
  test("every command reaches the layers with its flags", async () => {
    await using it = await running({ later });
    const { client } = await it.ready();
    const errors: number[] = [];
    for (const fields of [
      { type: READ, offset: 1n, count: 5 },
      { type: WRITE, offset: 6n, payload: new Uint8Array(3) },
      { type: WRITE, flags: FUA, offset: 6n, payload: new Uint8Array(3) },
      { type: FLUSH },
      { type: TRIM, offset: 10n, count: 2 },
      { type: TRIM, flags: FUA, offset: 10n, count: 2 },
      { type: CACHE, offset: 20n, count: 9 },
      { type: ZERO, offset: 30n, count: 4 },
      { type: ZERO, flags: NO_HOLE, offset: 30n, count: 4 },
      { type: ZERO, flags: NO_HOLE | FUA | FAST, offset: 30n, count: 4 },
    ]) {
      errors.push((await client.ask(fields)).error);
    }
    expect(errors).toEqual(errors.map(() => 0));
    expect(it.calls).toEqual([
      "pread 5 1",
      "pwrite 3 6",
      "pwrite 3 6 flags=2",
      "flush",
      "trim 2 10",
      "trim 2 10 flags=2",
      "cache 9 20",
      "zero 4 30 flags=1",
      "zero 4 30",
      "zero 4 30 flags=10",
    ]);
  });

  test("reads and writes up to 64 MiB", async () => {
    await using it = await running({ later, size: 64 * MiB + 1 });
    const { client } = await it.ready();
    for (const count of [1, 4096, 262_144, 64 * MiB]) {
      const payload = pattern(count + 1).subarray(1);
      expect((await client.ask({ type: WRITE, offset: 1n, payload })).error).toBe(0);
      const { data } = await client.ask({ type: READ, offset: 1n, count });
      expect(Buffer.compare(data, payload)).toBe(0);
    }
    expect((await client.ask({ type: READ, count: 64 * MiB + 1 })).error).toBe(ENOMEM);
    const payload = new Uint8Array(64 * MiB + 1);
    expect((await client.ask({ type: WRITE, payload })).error).toBe(ENOMEM);
    expect(it.calls).toHaveLength(8);
    client.request({ type: DISC });
    await client.closed;
  });

  test("requests may be cut anywhere", async () => {
    await using it = await running({ later });
    const { client } = await it.ready();
    const payload = pattern(50);
    const all = bytes(
      request({ type: WRITE, cookie: 1n, offset: 100n, payload }),
      request({ type: FLUSH, cookie: 2n }),
      request({ type: WRITE, cookie: 3n, offset: 65536n, payload }),
    );
    for (let cut = 1; cut < all.length; cut++) {
      client.send(all.subarray(0, cut));
      await client.sent();
      if (cut % 8 === 0) await turns(2);
      client.send(all.subarray(cut));
      const replies = [await client.reply(), await client.reply(), await client.reply()];
      const errors = replies.toSorted((a, b) => Number(a.cookie - b.cookie)).map((r) => r.error);
      expect(errors).toEqual([0, 0, ENOSPC]);
    }
    expect(it.disk.subarray(100, 150)).toEqual(payload);
  });

  test("hundreds of concurrent requests get their own data", async () => {
    await using it = await running({ later });
    const { client } = await it.ready();
    const count = 1000;
    const all = Array.from({ length: count }, (_, i) =>
      request({ type: READ, cookie: BigInt(i), offset: BigInt(i * 60), count: 1 + i }),
    );
    client.send(bytes(...all));
    for (let i = 0; i < count; i++) {
      const { cookie, error } = await client.reply();
      const at = Number(cookie);
      expect(error).toBe(0);
      expect(
        Buffer.compare(await client.take(1 + at), it.disk.subarray(at * 60, at * 61 + 1)),
      ).toBe(0);
    }
  });

  test("a failed read sends no data, and the error is logged once", async () => {
    await using it = await running({
      later,
      plugin: {
        pread: () => {
          const error = new NbdError("EIO", "bad sector");
          if (later) return Promise.reject(error);
          throw error;
        },
      },
    });
    const { client } = await it.ready();
    expect(await client.ask({ type: READ, count: 512 })).toEqual({
      error: EIO,
      cookie: 1n,
      data: new Uint8Array(0),
    });
    expect((await client.ask({ type: FLUSH })).error).toBe(0);
    expect(logged.lines).toEqual(["disk[1]: error: disk: bad sector"]);
  });
});

describe("refused requests", () => {
  const size = 65536n;
  const payload = new Uint8Array(2);
  test.each([
    ["read of nothing", { type: READ, count: 0 }, EINVAL],
    ["write of nothing", { type: WRITE, count: 0 }, ENOSPC],
    ["trim of nothing", { type: TRIM, count: 0 }, EINVAL],
    ["zero of nothing", { type: ZERO, count: 0 }, ENOSPC],
    ["cache of nothing", { type: CACHE, count: 0 }, EINVAL],
    ["read over the end", { type: READ, offset: size - 1n, count: 2 }, EINVAL],
    ["write over the end", { type: WRITE, offset: size - 1n, payload }, ENOSPC],
    ["trim over the end", { type: TRIM, offset: size - 1n, count: 2 }, EINVAL],
    ["zero over the end", { type: ZERO, offset: size - 1n, count: 2 }, ENOSPC],
    ["cache over the end", { type: CACHE, offset: size - 1n, count: 2 }, EINVAL],
    ["read far beyond the end", { type: READ, offset: (1n << 64n) - 1n, count: 1 }, EINVAL],
    ["read at 2^53", { type: READ, offset: 1n << 53n, count: 1 }, EINVAL],
    ["write that wraps around", { type: WRITE, offset: (1n << 64n) - 2n, payload }, ENOSPC],
    ["read of 4 GiB", { type: READ, count: 0xffffffff }, EINVAL],
    ["flush with an offset", { type: FLUSH, offset: 1n }, EINVAL],
    ["flush with a count", { type: FLUSH, count: 1 }, EINVAL],
    ["block status", { type: STATUS, count: 1 }, EINVAL],
    ["block status with REQ_ONE", { type: STATUS, flags: REQ_ONE, count: 1 }, EINVAL],
    ["unknown command", { type: 8, count: 1 }, EINVAL],
    ["another unknown command", { type: 0xffff }, EINVAL],
    ["unknown flag", { type: READ, flags: 32, count: 1 }, EINVAL],
    ["unknown high flag", { type: READ, flags: 0x8000, count: 1 }, EINVAL],
    ["NO_HOLE on a write", { type: WRITE, flags: NO_HOLE, payload }, EINVAL],
    ["NO_HOLE on a trim", { type: TRIM, flags: NO_HOLE, count: 1 }, EINVAL],
    ["FAST_ZERO on a trim", { type: TRIM, flags: FAST, count: 1 }, EINVAL],
    ["DF on a read", { type: READ, flags: DF, count: 1 }, EINVAL],
    ["REQ_ONE on a read", { type: READ, flags: REQ_ONE, count: 1 }, EINVAL],
  ])("%s", async (_what, fields, error) => {
    await using it = await running();
    const { client } = await it.ready();
    expect((await client.ask(fields)).error).toBe(error);
    await alive(client);
    expect(it.calls).toEqual(["pread 3 256"]);
    expect(logged.lines).toHaveLength(1);
    expect(logged.lines[0]).toStartWith("disk[1]: error: invalid request: ");
  });

  test.each([
    ["flush", { canFlush: () => false, canFua: () => "none" }, { type: FLUSH }],
    ["trim", { canTrim: () => false }, { type: TRIM, count: 1 }],
    [
      "zero",
      { canZero: undefined, canWrite: () => true, zero: undefined, canFastZero: () => false },
      { type: ZERO, flags: FAST, count: 1 },
    ],
    ["cache", { canCache: () => "none" }, { type: CACHE, count: 1 }],
    ["FUA", { canFua: () => "none" }, { type: TRIM, flags: FUA, count: 1 }],
  ] as readonly [string, object, RequestFields][])(
    "%s that was not offered",
    async (_what, plugin, fields) => {
      await using it = await running({ plugin });
      const { client } = await it.ready();
      expect((await client.ask(fields)).error).toBe(EINVAL);
      await alive(client);
    },
  );

  test.each([
    ["write", { type: WRITE, payload }],
    ["write out of range", { type: WRITE, offset: size, payload }],
    ["trim", { type: TRIM, count: 1 }],
    ["zero", { type: ZERO, count: 1 }],
  ])("%s to a read-only export", async (_what, fields) => {
    await using it = await running({ policy: { readonly: true } });
    const { client } = await it.ready();
    expect((await client.ask(fields)).error).toBe(EPERM);
    await alive(client);
  });

  test("sizes beyond 2^53 are compared exactly", async () => {
    const huge = (1n << 63n) - 1n;
    const seen: bigint[] = [];
    await using it = await running({
      plugin: {
        getSize: () => huge,
        pread: (_h: unknown, _b: unknown, at: bigint) => void seen.push(at),
      },
    });
    const { client, export: facts } = await it.ready();
    expect(facts.size).toBe(huge);
    expect((await client.ask({ type: READ, offset: huge - 1n, count: 1 })).error).toBe(0);
    expect((await client.ask({ type: READ, offset: huge - 1n, count: 2 })).error).toBe(EINVAL);
    expect(seen).toEqual([huge - 1n]);
  });

  test("up to 128 MiB of a refused write are skipped, a longer one ends the connection", async () => {
    await using it = await running();
    const { client } = await it.ready();
    const reply = await client.ask({ type: WRITE, payload: new Uint8Array(128 * MiB) });
    expect(reply.error).toBe(ENOSPC);
    await alive(client);
    expect(it.server.heldBytes).toBeLessThan(2 * MiB);
    client.send(request({ type: WRITE, count: 128 * MiB + 1 }));
    await client.closed;
    expect(client.available).toBe(0);
  });

  test("a wrong magic number ends the connection, whatever follows", async () => {
    await using it = await running();
    const { client } = await it.ready();
    client.send(
      bytes(
        request({ type: FLUSH, cookie: 9n }),
        request({ type: READ, magic: 0x25609514, count: 1 }),
        request({ type: WRITE, payload }),
      ),
    );
    expect(await client.reply()).toEqual({ error: 0, cookie: 9n });
    await client.closed;
    expect(client.available).toBe(0);
    expect(it.calls).toEqual(["flush"]);
    expect(logged.lines).toEqual([
      "disk[1]: error: invalid request: magic number 0x25609514, expected 0x25609513",
    ]);
  });
});

test.each([
  ["EPERM", EPERM, EPERM],
  ["EROFS", EPERM, EPERM],
  ["EIO", EIO, EIO],
  ["ENOMEM", ENOMEM, ENOMEM],
  ["EDQUOT", ENOSPC, ENOSPC],
  ["EFBIG", ENOSPC, ENOSPC],
  ["ENOSPC", ENOSPC, ENOSPC],
  ["ESHUTDOWN", ESHUTDOWN, ESHUTDOWN],
  ["EOVERFLOW", EINVAL, EINVAL],
  ["EINVAL", EINVAL, EINVAL],
  ["ENOENT", EINVAL, EINVAL],
  ["EBUSY", EINVAL, EINVAL],
  ["EOPNOTSUPP", EINVAL, EOPNOTSUPP],
] as const)("%s is %d on the wire, and %d with FAST_ZERO", async (errno, plain, fast) => {
  const fail = () => {
    throw new NbdError(errno, "as the test wants it");
  };
  await using it = await running({ plugin: { trim: fail, zero: fail } });
  const { client } = await it.ready();
  expect((await client.ask({ type: TRIM, count: 1 })).error).toBe(plain);
  expect((await client.ask({ type: ZERO, flags: FAST, count: 1 })).error).toBe(fast);
});

test("the debug line of an error reply follows the error", async () => {
  using lines = quiet(true);
  await using it = await running({
    plugin: {
      flush: () => {
        throw new NbdError("ENOSPC", "the disk is full");
      },
    },
  });
  const { client } = await it.ready();
  await client.ask({ type: FLUSH });
  expect(lines.lines.slice(-2)).toEqual([
    "disk[1]: error: disk: the disk is full",
    "disk[1]: debug: sending error reply: No space left on device",
  ]);
});

describe("the end of a connection", () => {
  test.each(["DISC", "FIN", "RST"])("by %s closes the layers", async (how) => {
    const events: string[] = [];
    await using it = await running({ plugin: { close: () => void events.push("close") } });
    const { client } = await it.ready();
    await alive(client);
    if (how === "DISC") client.request({ type: DISC });
    else if (how === "FIN") client.shutdown();
    else client.terminate();
    await client.closed;
    await until(() => it.server.connections === 0);
    expect(events).toEqual(["close"]);
    expect(logged.lines).toEqual([]);
  });

  test("requests before the end of the stream are answered", async () => {
    await using it = await running({ later: true });
    const { client } = await it.ready();
    client.send(
      bytes(
        ...Array.from({ length: 20 }, (_, i) =>
          request({ type: READ, cookie: BigInt(i), count: 1000 }),
        ),
      ),
    );
    client.shutdown();
    await client.closed;
    expect(client.available).toBe(20 * 1016);
  });

  test("requests after DISC do not run", async () => {
    await using it = await running();
    const { client } = await it.ready();
    client.send(bytes(request({ type: DISC }), request({ type: FLUSH })));
    await client.closed;
    expect(it.calls).toEqual([]);
  });

  test.each([100, 2 * MiB])("an incomplete write of %d bytes does not run", async (count) => {
    await using it = await running({ size: 4 * MiB });
    const { client } = await it.ready();
    client.send(request({ type: WRITE, count, payload: new Uint8Array(count - 1) }));
    await client.sent();
    client.shutdown();
    await client.closed;
    await until(() => it.server.connections === 0);
    expect(it.calls).toEqual([]);
    expect(Buffer.compare(it.disk, pattern(4 * MiB))).toBe(0);
  });
});

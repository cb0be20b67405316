/**
 * Metadata contexts and block status on the wire: each rule of their negotiation, and the replies for a plugin's
 * extents.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";

import { bytes, chunkError, infoPayload, metaPayload, type NbdClient } from "#test/client";

import type { Extents } from "../../src/lib/extents.ts";
import { Held, NbdError, quiet, running, turns } from "./server-fixture.ts";

const [ACK, META, ERR_INVALID, ERR_TOO_BIG] = [1, 4, 0x80000003, 0x80000009] as const;
const [LIST, SET, STRUCTURED, INFO, GO] = [9, 10, 8, 6, 7] as const;
const [STATUS, REQ_ONE, EIO, EINVAL] = [7, 8, 5, 22] as const;
const base = "base:allocation";

let logged: ReturnType<typeof quiet>;
beforeEach(() => {
  logged = quiet();
});
afterEach(() => {
  logged[Symbol.dispose]();
});

const types = (replies: readonly { readonly type: number }[]) => replies.map(({ type }) => type);

/** A client that has sent its flags. */
async function greeted(it: { connect(): Promise<NbdClient> }): Promise<NbdClient> {
  const client = await it.connect();
  await client.hello();
  return client;
}

describe("LIST_META_CONTEXT", () => {
  test.each([
    { queries: [] },
    { queries: ["base:"] },
    { queries: [base] },
    { queries: ["x:", "base:", base, base] },
  ])("lists base:allocation once for $queries", async ({ queries }) => {
    await using it = await running();
    const client = await greeted(it);
    // Listing needs no structured replies.
    const replies = await client.option(LIST, metaPayload("any", queries));
    expect(types(replies)).toEqual([META, ACK]);
    expect(replies[0]?.data).toEqual(bytes(0, base));
  });

  test.each(["", "base", "base:x", "BASE:allocation", "qemu:dirty-bitmap:x", "x".repeat(4096)])(
    "lists nothing for %s",
    async (query) => {
      await using it = await running();
      const client = await greeted(it);
      expect(types(await client.option(LIST, metaPayload("", [query])))).toEqual([ACK]);
    },
  );

  test("chooses nothing", async () => {
    await using it = await running();
    const client = await greeted(it);
    await client.option(STRUCTURED);
    await client.option(LIST, metaPayload("", [base]));
    await client.go("");
    expect((await client.askChunk({ type: STATUS, count: 1 })).type).toBe(0x8001);
  });
});

describe("SET_META_CONTEXT", () => {
  test("needs structured replies", async () => {
    await using it = await running();
    const client = await greeted(it);
    expect(types(await client.option(SET, metaPayload("", [base])))).toEqual([ERR_INVALID]);
    await client.option(STRUCTURED);
    const replies = await client.option(SET, metaPayload("", [base]));
    expect(types(replies)).toEqual([META, ACK]);
    expect(replies[0]?.data).toEqual(bytes(1, base));
  });

  test("matches whole names only, and chooses each context once", async () => {
    await using it = await running();
    const client = await greeted(it);
    await client.option(STRUCTURED);
    for (const queries of [[], ["base:"], ["base:x", "other:"]]) {
      expect(types(await client.option(SET, metaPayload("", queries)))).toEqual([ACK]);
    }
    expect(types(await client.option(SET, metaPayload("", [base, "x", base])))).toEqual([
      META,
      ACK,
    ]);
  });

  /** Whether block status works after these options and GO. */
  async function chosen(
    steps: readonly (readonly [number, Uint8Array])[],
    name = "",
  ): Promise<boolean> {
    await using it = await running();
    const client = await greeted(it);
    await client.option(STRUCTURED);
    for (const [option, data] of steps) await client.option(option, data);
    await client.go(name);
    const { type, data, ...rest } = await client.askChunk({ type: STATUS, count: 512 });
    if (type === 5) return true;
    expect(chunkError({ type, data, ...rest }).error).toBe(EINVAL);
    return false;
  }
  const set = [SET, metaPayload("", [base])] as const;

  test("holds until the next SET, whether that succeeds or fails", async () => {
    expect(await chosen([set])).toBe(true);
    expect(await chosen([set, set])).toBe(true);
    expect(await chosen([set, [SET, metaPayload("", [])]])).toBe(false);
    expect(await chosen([set, [SET, metaPayload("", ["other:"])]])).toBe(false);
    expect(await chosen([set, [SET, bytes(9)]])).toBe(false);
    expect(await chosen([set, [SET, new Uint8Array((1 << 20) + 1)]])).toBe(false);
    expect(await chosen([[SET, bytes(9)], set])).toBe(true);
    expect(await chosen([set, [LIST, metaPayload("", ["other:"])]])).toBe(true);
    expect(await chosen([set, [LIST, bytes(9)]])).toBe(true);
    expect(await chosen([set, [STRUCTURED, new Uint8Array(0)]])).toBe(true);
    expect(await chosen([set, [3, new Uint8Array(0)]])).toBe(true);
  });

  test("holds only for the export that it named", async () => {
    const named = [SET, metaPayload("näme", [base])] as const;
    expect(await chosen([named], "näme")).toBe(true);
    expect(await chosen([named], "name")).toBe(false);
    expect(await chosen([named], "")).toBe(false);
    expect(await chosen([set], "näme")).toBe(false);
    expect(await chosen([named, set], "näme")).toBe(false);
    // The client may ask about other exports in between.
    expect(await chosen([named, [INFO, infoPayload("other")]], "näme")).toBe(true);
  });

  test("distinguishes names that differ in bytes outside UTF-8", async () => {
    await using it = await running();
    const client = await greeted(it);
    await client.option(STRUCTURED);
    await client.option(SET, bytes(1, new Uint8Array([0xff]), 1, base.length, base));
    await client.option(GO, bytes(1, new Uint8Array([0xfe]), [2, 0]));
    expect((await client.askChunk({ type: STATUS, count: 1 })).type).toBe(0x8001);
  });

  test("holds for EXPORT_NAME as well", async () => {
    await using it = await running();
    for (const [name, works] of [
      ["one", true],
      ["two", false],
    ] as const) {
      const client = await greeted(it);
      await client.option(STRUCTURED);
      await client.option(SET, metaPayload("one", [base]));
      await client.exportName(name);
      expect((await client.askChunk({ type: STATUS, count: 1 })).type === 5).toBe(works);
    }
  });
});

describe.each([
  { option: LIST, name: "LIST" },
  { option: SET, name: "SET" },
])("$name", ({ option }) => {
  test.each([
    { what: "an empty payload", data: new Uint8Array(0) },
    { what: "a name without queries", data: bytes(0) },
    { what: "a name longer than the payload", data: bytes(5, "ab", 0) },
    { what: "a query that is missing", data: bytes(0, 1) },
    { what: "a query longer than the payload", data: bytes(0, 1, 5, "ab") },
    { what: "a huge number of queries", data: bytes(0, 0xffffffff, 0) },
    { what: "bytes left over", data: bytes(0, 1, 3, "abc", [2, 0]) },
    { what: "a zero byte in the name", data: metaPayload("a\0b") },
    { what: "a zero byte in a query", data: metaPayload("", [`${base}\0`]) },
    { what: "a name of 4097 bytes", data: metaPayload("x".repeat(4097), [base]) },
    { what: "a query of 4097 bytes", data: metaPayload("", ["x".repeat(4097), base]) },
  ])("answers ERR_INVALID to $what", async ({ data }) => {
    await using it = await running();
    const client = await greeted(it);
    await client.option(STRUCTURED);
    expect(types(await client.option(option, data))).toEqual([ERR_INVALID]);
    expect(await client.go()).toHaveProperty("size", 65536n);
  });

  test("accepts names of 4096 bytes and a payload of 1 MiB, and no more", async () => {
    await using it = await running();
    const client = await greeted(it);
    await client.option(STRUCTURED);
    const long = metaPayload("x".repeat(4096), [base]);
    expect(types(await client.option(option, long))).toEqual([META, ACK]);
    const head = bytes(0, 2, base.length, base);
    const rest = (1 << 20) - head.length;
    // Empty queries fill it to the last byte.
    const count = Math.floor((rest - 4096) / 4);
    const fill = rest - 4 * count - 4;
    const data = bytes(
      0,
      count + 2,
      base.length,
      base,
      fill,
      "x".repeat(fill),
      new Uint8Array(4 * count),
    );
    expect(data).toHaveLength(1 << 20);
    expect(types(await client.option(option, data))).toEqual([META, ACK]);
    expect(types(await client.option(option, bytes(data, [2, 0])))).toEqual([ERR_TOO_BIG]);
    expect(await client.go()).toHaveProperty("size", 65536n);
  });
});

test("block status needs structured replies", async () => {
  await using it = await running({ policy: { structuredReplies: false } });
  const client = await greeted(it);
  expect(types(await client.option(LIST, metaPayload("", [])))).toEqual([META, ACK]);
  expect(types(await client.option(SET, metaPayload("", [base])))).toEqual([ERR_INVALID]);
});

describe.each([{ later: false }, { later: true }])("block status, later=$later", ({ later }) => {
  /** A plugin with these extents: [offset, length, type]. */
  function withExtents(
    parts: readonly (readonly [bigint, bigint, number])[],
    seen: string[] = [],
    more: object = {},
  ) {
    const extents = (_h: unknown, count: number, offset: bigint, flags: number, list: Extents) => {
      seen.push(`${count} ${offset} ${flags}`);
      for (const [at, length, type] of parts) list.add(at, length, type);
      return later ? Promise.resolve() : undefined;
    };
    return { plugin: { extents, ...more }, later };
  }
  const parts = [
    [0n, 1000n, 0],
    [1000n, 1000n, 3],
    [2000n, 1000n, 2],
    [3000n, 1000n, 1],
    [4000n, 65536n, 0],
  ] as const;

  test("reports holes and zeroes, starting at the requested offset", async () => {
    const seen: string[] = [];
    await using it = await running(withExtents(parts, seen));
    const { client } = await it.structured();
    expect(await client.blockStatus(0n, 4000)).toEqual([
      [1000, 0],
      [1000, 3],
      [1000, 2],
      [1000, 1],
    ]);
    expect(await client.blockStatus(500n, 1000)).toEqual([
      [500, 0],
      [1000, 3],
    ]);
    expect(await client.blockStatus(4000n, 1)).toEqual([[61536, 0]]);
    expect(seen).toEqual(["4000 0 0", "1000 500 0", "1 4000 0"]);
  });

  test("reports one block with REQ_ONE, within the requested range", async () => {
    const seen: string[] = [];
    await using it = await running(withExtents(parts, seen));
    const { client } = await it.structured();
    expect(await client.blockStatus(1500n, 2000, REQ_ONE)).toEqual([[500, 3]]);
    expect(await client.blockStatus(1500n, 100, REQ_ONE)).toEqual([[100, 3]]);
    expect(seen).toEqual(["2000 1500 4", "100 1500 4"]);
  });

  test("cuts huge extents to lengths below 2^32", async () => {
    const size = 1n << 40n;
    const getSize = () => size;
    await using it = await running(withExtents([[0n, size, 3]], [], { getSize }));
    const { client } = await it.structured();
    expect(await client.blockStatus(0n, 0xffffffff)).toEqual([[0xffff0000, 3]]);
    expect(await client.blockStatus(0n, 0xffffffff, REQ_ONE)).toEqual([[0xffffffff, 3]]);
    expect(await client.blockStatus(size - 0xffffffffn, 0xffffffff)).toEqual([[0xffff0000, 3]]);
    expect(await client.blockStatus(size - 1n, 1)).toEqual([[1, 3]]);
  });

  test("sends thousands of blocks in one reply", async () => {
    const many = Array.from({ length: 65536 }, (_, i) => [BigInt(i), 1n, i % 2] as const);
    await using it = await running(withExtents(many));
    const { client } = await it.structured();
    const blocks = await client.blockStatus(0n, 65536);
    expect(blocks).toHaveLength(65536);
    expect(blocks[65535]).toEqual([1, 1]);
    expect((await client.ask({ type: 3 })).error).toBe(0);
  });

  test("fails if the plugin reports nothing or fails", async () => {
    await using it = await running(withExtents([]));
    const { client } = await it.structured();
    const nothing = await client.askChunk({ type: STATUS, count: 10 });
    expect(chunkError(nothing).error).toBe(EINVAL);
    const extents = () => {
      const error = new NbdError("EIO", "no idea");
      if (later) return Promise.reject(error);
      throw error;
    };
    await using failing = await running({ plugin: { extents } });
    const other = (await failing.structured()).client;
    const failed = await other.askChunk({ type: STATUS, count: 10 });
    expect(chunkError(failed)).toMatchObject({ error: EIO, text: "no idea" });
  });

  test("reports all data if the plugin has no extents", async () => {
    await using it = await running({
      later,
      plugin: { extents: undefined, canExtents: undefined },
    });
    const { client } = await it.structured();
    expect(await client.blockStatus(10n, 20)).toEqual([[20, 0]]);
    expect(await client.blockStatus(10n, 20, REQ_ONE)).toEqual([[20, 0]]);
  });
});

describe("in flight", () => {
  test("are at most 16 block status requests per connection, since lists may be long", async () => {
    const held = new Held();
    const extents = async (_h: unknown, count: number, ...rest: [bigint, number, Extents]) => {
      await held.wait(`${count}`);
      rest[2].add(0n, 65536n, 0);
    };
    await using it = await running({ plugin: { extents } });
    const { client } = await it.structured();
    for (let i = 1; i <= 17; i++) client.request({ type: STATUS, count: i, cookie: BigInt(i) });
    await held.reached(16);
    await turns();
    expect(held.names).toHaveLength(16);
    held.release("5");
    expect((await client.chunk()).cookie).toBe(5n);
    await held.reached(16);
    expect(held.names).toContain("17");
    held.releaseAll();
    for (let i = 0; i < 16; i++) expect((await client.chunk()).type).toBe(5);
  });

  test("are any number of huge trims, since they hold no memory", async () => {
    const held = new Held();
    const plugin = {
      getSize: () => 1n << 40n,
      trim: (_h: unknown, _count: number, offset: bigint) => held.wait(`${offset}`),
    };
    await using it = await running({ plugin });
    const { client } = await it.ready();
    for (let i = 0; i < 100; i++) {
      client.request({ type: 4, offset: BigInt(i) << 32n, count: 0xffffffff });
    }
    await held.reached(100);
    held.releaseAll();
    for (let i = 0; i < 100; i++) expect((await client.reply()).error).toBe(0);
  });
});

/** Structured replies on the wire: their negotiation, data, errors with text, and that they need no more writes. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";

import type { NextOps } from "#api/generated/methods.gen";
import { diskPlugin, overPlugin } from "#test/chain";
import { type Chunk, chunkError, request } from "#test/client";
import { defaults } from "#test/settings";

import { Blocks } from "../../src/protocol/blocks.ts";
import { Gate } from "../../src/protocol/gate.ts";
import { traced } from "../../src/protocol/lifecycle-fixture.ts";
import { Lock } from "../../src/protocol/lock.ts";
import { Output } from "../../src/protocol/output.ts";
import { Transmission } from "../../src/protocol/transmission.ts";
import { NbdError, pattern, quiet, running } from "./server-fixture.ts";

const [READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZERO, STATUS] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
const [EIO, ENOMEM, EINVAL, ENOSPC, EOVERFLOW, EOPNOTSUPP] = [5, 12, 22, 28, 75, 95] as const;
const [DF, FAST] = [4, 16] as const;
const [ACK, ERR_UNSUP, ERR_INVALID] = [1, 0x80000001, 0x80000003] as const;
const [OFFSET_DATA, ERROR, ERROR_OFFSET] = [1, 0x8001, 0x8002] as const;
const SEND_DF = 128;
const MiB = 1 << 20;

let logged: ReturnType<typeof quiet>;
beforeEach(() => {
  logged = quiet();
});
afterEach(() => {
  logged[Symbol.dispose]();
});

const types = (replies: readonly { readonly type: number }[]) => replies.map(({ type }) => type);

function dataOf(chunk: Chunk): { offset: bigint; data: Uint8Array } {
  expect(chunk).toMatchObject({ type: OFFSET_DATA, flags: 1 });
  const { data } = chunk;
  const offset = new DataView(data.buffer, data.byteOffset, 8).getBigUint64(0);
  return { offset, data: data.subarray(8) };
}

describe("negotiation", () => {
  test("is accepted once, and without a payload", async () => {
    await using it = await running();
    const client = await it.connect();
    await client.hello();
    expect(types(await client.option(8, new Uint8Array(3)))).toEqual([ERR_INVALID]);
    expect(types(await client.option(8))).toEqual([ACK]);
    expect(types(await client.option(8))).toEqual([ERR_INVALID]);
    expect(await client.go()).toMatchObject({ size: 65536n });
  });

  test("offers DF with EXPORT_NAME as well", async () => {
    await using it = await running();
    const plain = (await it.ready()).export.eflags;
    expect(plain & SEND_DF).toBe(0);
    expect((await it.structured()).export.eflags).toBe(plain | SEND_DF);
    const client = await it.connect();
    await client.hello();
    await client.option(8);
    expect((await client.exportName("")).eflags).toBe(plain | SEND_DF);
    expect(dataOf(await client.askChunk({ type: READ, count: 5 })).data).toEqual(
      it.disk.subarray(0, 5),
    );
  });

  test("can be switched off", async () => {
    await using it = await running({ policy: { structuredReplies: false } });
    const client = await it.connect();
    await client.hello();
    expect(types(await client.option(8))).toEqual([ERR_UNSUP]);
    expect(types(await client.option(8, new Uint8Array(1)))).toEqual([ERR_INVALID]);
    const facts = await client.go();
    expect("eflags" in facts && facts.eflags & SEND_DF).toBe(0);
    expect((await client.ask({ type: READ, count: 5 })).data).toEqual(it.disk.subarray(0, 5));
  });
});

describe.each([{ later: false }, { later: true }])("answers later=$later", ({ later }) => {
  test("a read is one chunk with its offset and data", async () => {
    await using it = await running({ later, size: 64 * MiB + 7 });
    const { client } = await it.structured();
    for (const count of [1, 512, 4096, 32 << 10, (32 << 10) + 1, 262_144, 64 * MiB]) {
      for (const flags of [0, DF]) {
        const fields = { type: READ, flags, offset: 7n, count, cookie: 0xfedcba9876543210n };
        const chunk = await client.askChunk(fields);
        expect(chunk.cookie).toBe(0xfedcba9876543210n);
        const { offset, data } = dataOf(chunk);
        expect(offset).toBe(7n);
        expect(Buffer.compare(data, it.disk.subarray(7, 7 + count))).toBe(0);
      }
    }
    const refused = await client.askChunk({ type: READ, count: 64 * MiB + 1 });
    expect(chunkError(refused).error).toBe(ENOMEM);
  });

  test("success without data is a simple reply", async () => {
    await using it = await running({ later });
    const { client } = await it.structured();
    for (const fields of [
      { type: WRITE, payload: new Uint8Array(3) },
      { type: FLUSH },
      { type: TRIM, count: 2 },
      { type: CACHE, count: 2 },
      { type: ZERO, count: 2 },
    ]) {
      expect((await client.ask({ ...fields, cookie: 77n })).cookie).toBe(77n);
    }
    client.request({ type: DISC });
    await client.closed;
  });

  test("hundreds of concurrent reads get their own data", async () => {
    await using it = await running({ later });
    const { client } = await it.structured();
    const all = Array.from({ length: 500 }, (_, i) =>
      request({ type: READ, cookie: BigInt(i), offset: BigInt(i * 60), count: 1 + i }),
    );
    client.send(Buffer.concat(all));
    for (let i = 0; i < all.length; i++) {
      const chunk = await client.chunk();
      const at = Number(chunk.cookie);
      const { offset, data } = dataOf(chunk);
      expect(offset).toBe(BigInt(at * 60));
      expect(Buffer.compare(data, it.disk.subarray(at * 60, at * 61 + 1))).toBe(0);
    }
  });

  test.each([
    ["read", { type: READ, count: 512 }],
    ["write", { type: WRITE, payload: new Uint8Array(9) }],
    ["flush", { type: FLUSH }],
    ["block status", { type: STATUS, count: 512 }],
  ])("a failed %s is an error chunk with the layer's words", async (_what, fields) => {
    const fail = () => {
      const error = new NbdError("EIO", "bad sector: žluťoučký kůň");
      if (later) return Promise.reject(error);
      throw error;
    };
    const plugin = { pread: fail, pwrite: fail, flush: fail, extents: fail };
    await using it = await running({ later, plugin });
    const { client } = await it.structured();
    const chunk = await client.askChunk({ ...fields, cookie: 3n });
    expect(chunk).toMatchObject({ type: ERROR, flags: 1, cookie: 3n });
    expect(chunkError(chunk)).toEqual({
      error: EIO,
      text: "bad sector: žluťoučký kůň",
      at: undefined,
    });
    expect(logged.lines).toEqual(["disk[1]: error: disk: bad sector: žluťoučký kůň"]);
    expect((await client.ask({ type: TRIM, count: 1 })).error).toBe(0);
  });
});

describe("errors", () => {
  test.each([
    ["read of nothing", { type: READ, count: 0 }, EINVAL, undefined],
    ["read over the end", { type: READ, offset: 65530n, count: 100 }, EINVAL, 65536n],
    ["read behind the end", { type: READ, offset: 65536n, count: 100 }, EINVAL, undefined],
    [
      "write over the end",
      { type: WRITE, offset: 65535n, payload: new Uint8Array(2) },
      ENOSPC,
      65536n,
    ],
    ["trim over the end", { type: TRIM, offset: 65535n, count: 2 }, EINVAL, 65536n],
    ["zero over the end", { type: ZERO, offset: 65535n, count: 2 }, ENOSPC, undefined],
    ["status over the end", { type: STATUS, offset: 65535n, count: 2 }, EINVAL, undefined],
    ["status of nothing", { type: STATUS, count: 0 }, EINVAL, undefined],
    ["DF on a write", { type: WRITE, flags: DF, payload: new Uint8Array(2) }, EINVAL, undefined],
    ["DF on a status", { type: STATUS, flags: DF, count: 1 }, EINVAL, undefined],
    ["unknown command", { type: 99 }, EINVAL, undefined],
  ] as const)("%s says where, if it can", async (_what, fields, error, at) => {
    await using it = await running();
    const { client } = await it.structured();
    const chunk = await client.askChunk(fields);
    expect(chunk.type).toBe(at === undefined ? ERROR : ERROR_OFFSET);
    expect(chunkError(chunk)).toMatchObject({ error, at });
    expect(chunkError(chunk).text).toStartWith("invalid request: ");
    expect((await client.ask({ type: FLUSH })).error).toBe(0);
  });

  test("are cut at 4096 bytes, but not within a character", async () => {
    let text = "";
    const plugin = {
      flush: () => {
        throw new NbdError("EIO", text);
      },
    };
    await using it = await running({ plugin });
    const { client } = await it.structured();
    for (const [given, told] of [
      ["a".repeat(4096), "a".repeat(4096)],
      ["a".repeat(4097), "a".repeat(4096)],
      [`${"a".repeat(4095)}é`, "a".repeat(4095)],
      [`${"a".repeat(4094)}é`, `${"a".repeat(4094)}é`],
      ["😀".repeat(1024), "😀".repeat(1024)],
      [`a${"😀".repeat(1024)}`, `a${"😀".repeat(1023)}`],
      ["", ""],
    ] as const) {
      text = given;
      expect(chunkError(await client.askChunk({ type: FLUSH })).text).toBe(told);
    }
  });

  test.each([
    ["EOVERFLOW", { type: READ, flags: DF, count: 1 }, EOVERFLOW],
    ["EOVERFLOW", { type: READ, count: 1 }, EINVAL],
    ["EOPNOTSUPP", { type: ZERO, flags: FAST, count: 1 }, EOPNOTSUPP],
    ["EOPNOTSUPP", { type: TRIM, count: 1 }, EINVAL],
  ] as const)("%s of %j is %d on the wire", async (errno, fields, error) => {
    const fail = () => {
      throw new NbdError(errno, "as the test wants it");
    };
    await using it = await running({ plugin: { pread: fail, trim: fail, zero: fail } });
    const { client } = await it.structured();
    expect(chunkError(await client.askChunk(fields)).error).toBe(error);
  });
});

describe.each([{ structured: false }, { structured: true }])(
  "structured=$structured",
  ({ structured }) => {
    const disk = pattern(1 << 20);

    /** A transmission whose client takes all output, and that output. */
    function transmission(top: NextOps) {
      const written: Uint8Array[] = [];
      const sink = {
        write: (bytes: Uint8Array, start: number, length: number) => {
          written.push(bytes.slice(start, start + length));
          return length;
        },
        pause: () => {},
        resume: () => {},
      };
      const blocks = new Blocks();
      const { lifecycle } = traced("serving");
      const facts = {
        size: 1n << 20n,
        eflags: 1,
        canExtents: false,
        structured,
        allocation: false,
      };
      const it = new Transmission({
        sink,
        output: new Output(sink, blocks, lifecycle),
        blocks,
        export: { ...facts, top, close: async () => {} },
        logName: "test",
        policy: defaults.policy,
        gate: new Gate("parallel", new Lock()),
        lifecycle,
      });
      return { it, written };
    }

    test("the replies of a batch of reads leave in one write", async () => {
      await using stack = await overPlugin(diskPlugin(disk, []));
      const { it, written } = transmission(stack.next);
      const reads = Array.from({ length: 15 }, (_, i) =>
        request({ type: READ, cookie: BigInt(i), offset: BigInt(4096 * i), count: 4096 }),
      );
      it.feed(Buffer.concat(reads));
      expect(written).toHaveLength(1);
      expect(written[0]).toHaveLength(15 * (4096 + (structured ? 28 : 16)));
    });

    test("a large read is written from the memory that the layer filled", async () => {
      await using stack = await overPlugin(diskPlugin(disk, []));
      const { it, written } = transmission(stack.next);
      it.feed(request({ type: READ, count: 512 << 10 }));
      expect(written).toHaveLength(1);
      const [reply] = written;
      const data = reply?.subarray(structured ? 28 : 16) ?? new Uint8Array(0);
      expect(Buffer.compare(data, disk.subarray(0, 512 << 10))).toBe(0);
    });
  },
);

/** Structured reads that report zeroes as holes. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";

import { bytes, chunkError, request } from "#test/client";

import type { Extents } from "../../src/lib/extents.ts";
import { Held, NbdError, quiet, running, turns } from "./server-fixture.ts";
import {
  assembled,
  chunksOf,
  connected,
  hole,
  KiB,
  type Layout,
  passing,
  READ,
  read,
  size,
  sparse,
  zero,
} from "./sparse-fixture.ts";

const DF = 4;
const ERROR = 0x8001;

let logged: ReturnType<typeof quiet>;
beforeEach(() => {
  logged = quiet();
});
afterEach(() => {
  logged[Symbol.dispose]();
});

describe.each([{ later: false }, { later: true }])(
  "holes in reads, answered later=$later",
  ({ later }) => {
    test("data, zeroes and data take three chunks", async () => {
      const { calls, disk, plugin } = sparse(
        [
          [0, 0],
          [64 * KiB, hole | zero],
          [128 * KiB, 0],
        ],
        later,
      );
      await using it = await running({ plugin });
      const { shape, data } = await read(await connected(it), 32 * KiB, 128 * KiB);
      expect(shape).toEqual([
        [32, 32],
        [64, -64],
        [128, 32],
      ]);
      expect(data).toEqual(disk.subarray(32 * KiB, 160 * KiB));
      expect(calls).toEqual(["extents 128 32", "pread 32 32", "pread 32 128"]);
    });

    test("zeroes alone take one small chunk, and no read", async () => {
      const { calls, plugin } = sparse([[0, zero]], later);
      await using it = await running({ plugin });
      const nbd = await connected(it);
      expect((await read(nbd, 0, size)).shape).toEqual([[0, -1024]]);
      expect((await read(nbd, 3, 100 * KiB)).data).toEqual(new Uint8Array(100 * KiB));
      expect(calls).toEqual(["extents 1024 0", `extents 100 ${3 / KiB}`]);
    });

    test("chunks are multiples of the smallest block", async () => {
      const { calls, disk, plugin } = sparse(
        [
          [0, 0],
          [63 * KiB, zero],
          [129 * KiB, 0],
          [196 * KiB + 1, zero],
          [220 * KiB + 3, 0],
          [1000 * KiB + 3, zero],
        ],
        later,
      );
      const blockSize = () => ({ minimum: 8 * KiB, preferred: 64 * KiB, maximum: 0xffffffff });
      await using it = await running({ plugin: { ...plugin, blockSize } });
      const { shape, data } = await read(await connected(it), 0, size);
      expect(shape).toEqual([
        [0, 64],
        [64, -64],
        [128, 72],
        [200, -16],
        [216, 792],
        [1008, -16],
      ]);
      expect(data).toEqual(disk);
      expect(calls).toEqual(["extents 1024 0", "pread 64 0", "pread 72 128", "pread 792 216"]);
    });

    test("a part that cannot be read fails the whole read, with one chunk", async () => {
      const { plugin } = sparse(
        [
          [0, 0],
          [64 * KiB, zero],
          [128 * KiB, 0],
        ],
        later,
      );
      const pread = (handle: unknown, buf: Uint8Array, offset: bigint) => {
        if (offset > 0n) throw new NbdError("ENOMEM", "no memory for this part");
        return plugin.pread(handle, buf, offset);
      };
      await using it = await running({ plugin: { ...plugin, pread } });
      const nbd = await connected(it);
      nbd.request({ type: READ, count: 256 * KiB });
      const chunks = await chunksOf(nbd);
      expect(chunks.map(({ type }) => type)).toEqual([ERROR]);
      expect(chunks.map(chunkError)).toEqual([
        { error: 12, text: "no memory for this part", at: undefined },
      ]);
      expect((await read(nbd, 0, 4 * KiB)).shape).toEqual([[0, 4]]);
    });
  },
);

test("filters without pread, and windows, pass on the plugin's holes", async () => {
  const { calls, disk, plugin } = sparse([
    [0, 0],
    [64 * KiB, zero],
    [128 * KiB, 0],
  ]);
  const moved = { name: "moved", window: () => ({ offset: BigInt(32 * KiB) }) };
  await using it = await running({ plugin, filters: [{ name: "none" }, moved] });
  const { data, shape } = await read(await connected(it), 0, 128 * KiB);
  expect(shape).toEqual([
    [0, 32],
    [32, -64],
    [96, 32],
  ]);
  expect(data).toEqual(disk.subarray(32 * KiB, 160 * KiB));
  expect(calls).toEqual(["extents 128 32", "pread 32 32", "pread 32 128"]);
});

describe("no holes are reported", () => {
  test("if the layers fail to return the smallest block", async () => {
    const { calls, plugin } = sparse([[0, hole | zero]]);
    const blockSize = () => {
      throw new NbdError("EIO", "nobody knows");
    };
    await using it = await running({ plugin: { ...plugin, blockSize } });
    expect((await read(await connected(it), 0, size)).shape).toEqual([[0, 1024]]);
    expect(calls).toEqual(["pread 1024 0"]);
  });

  const allZero: Layout = [[0, hole | zero]];

  test.each([
    { what: "with DF", count: 256 * KiB, flags: DF },
    { what: "of small reads", count: 32 * KiB, flags: 0 },
  ])("$what", async ({ count, flags }) => {
    const { calls, plugin } = sparse(allZero);
    await using it = await running({ plugin });
    expect((await read(await connected(it), 0, count, flags)).shape).toEqual([[0, count / KiB]]);
    expect(calls).toEqual([`pread ${count / KiB} 0`]);
  });

  test("in simple replies", async () => {
    const { calls, disk, plugin } = sparse(allZero);
    await using it = await running({ plugin });
    const { client: nbd } = await it.ready();
    const { data } = await nbd.ask({ type: READ, count: 256 * KiB });
    expect(data).toEqual(disk.subarray(0, 256 * KiB));
    expect(calls).toEqual(["pread 256 0"]);
  });

  test("if the layers have no extents", async () => {
    const { calls, plugin } = sparse(allZero);
    await using it = await running({ plugin: { ...plugin, canExtents: () => false } });
    expect((await read(await connected(it), 0, 256 * KiB)).shape).toEqual([[0, 256]]);
    expect(calls).toEqual(["pread 256 0"]);
  });

  test.each([
    { has: "pread", own: { pread: passing.pread } },
    { has: "extents", own: { extents: passing.extents } },
    { has: "pread and extents", own: passing },
  ])("below a filter with $has of its own", async ({ own }) => {
    const { calls, plugin } = sparse([[0, zero]]);
    const filters = [{ name: "none" }, { name: "own", ...own }, { name: "none" }];
    await using it = await running({ plugin, filters });
    expect((await read(await connected(it), 0, 64 * KiB)).shape).toEqual([[0, 64]]);
    expect(calls).toEqual(["pread 64 0"]);
  });

  test("if the plugin does not declare extentsAnswerReads", async () => {
    const { calls, plugin } = sparse([[0, zero]]);
    await using it = await running({ plugin: { ...plugin, extentsAnswerReads: false } });
    expect((await read(await connected(it), 0, 64 * KiB)).shape).toEqual([[0, 64]]);
    expect(calls).toEqual(["pread 64 0"]);
  });

  test("for unallocated space that does not read as zeroes", async () => {
    const { plugin } = sparse([[0, hole]]);
    await using it = await running({ plugin });
    expect((await read(await connected(it), 0, 256 * KiB)).shape).toEqual([[0, 256]]);
  });

  test("for zeroes shorter than 16 KiB", async () => {
    const { disk, plugin } = sparse([
      [0, 0],
      [8 * KiB, zero],
      [23 * KiB, 0],
      [40 * KiB, zero],
      [56 * KiB, 0],
    ]);
    await using it = await running({ plugin });
    const { shape, data } = await read(await connected(it), 0, 64 * KiB);
    expect(shape).toEqual([
      [0, 40],
      [40, -16],
      [56, 8],
    ]);
    expect(data).toEqual(disk.subarray(0, 64 * KiB));
  });

  test("if extents fails, and the read succeeds", async () => {
    const { disk, plugin } = sparse(allZero);
    const fails = [
      () => {
        throw new NbdError("EIO", "extents are broken");
      },
      () => Promise.reject(new NbdError("EIO", "extents are broken")),
      () => {},
    ];
    for (const extents of fails) {
      await using it = await running({ plugin: { ...plugin, extents } });
      const answer = await read(await connected(it), 0, 64 * KiB);
      expect(answer.shape).toEqual([[0, 64]]);
      expect(answer.data).toEqual(disk.subarray(0, 64 * KiB));
    }
    expect(logged.lines).toEqual([]);
  });
});

describe("layers are asked for extents", () => {
  test("once for a range of data, until the client makes holes", async () => {
    const { calls, plugin } = sparse([
      [0, 0],
      [512 * KiB, zero],
    ]);
    const writing = { pwrite: () => {}, zero: () => {} };
    await using it = await running({ plugin: { ...plugin, ...writing } });
    const nbd = await connected(it);
    for (const at of [0, 64, 128, 448]) await read(nbd, at * KiB, 64 * KiB);
    expect(calls.filter((call) => call.startsWith("extents"))).toEqual(["extents 64 0"]);
    expect((await read(nbd, 448 * KiB, 128 * KiB)).shape).toEqual([
      [448, 64],
      [512, -64],
    ]);
    expect(await nbd.ask({ type: 6, count: 512 })).toHaveProperty("error", 0);
    await read(nbd, 64 * KiB, 64 * KiB);
    expect(calls.filter((call) => call.startsWith("extents"))).toEqual([
      "extents 64 0",
      "extents 128 448",
      "extents 64 64",
    ]);
  });

  test("less and less while they report only data, and again when they report holes", async () => {
    const asked: number[] = [];
    let type = 0;
    const extents = (_h: unknown, count: number, offset: bigint, _f: number, list: Extents) => {
      asked.push(Number(offset) / (64 * KiB));
      list.add(offset, BigInt(count), type);
    };
    const plugin = { extents, extentsAnswerReads: true };
    await using it = await running({ size: 16 << 20, plugin });
    const nbd = await connected(it);
    for (let i = 0; i < 100; i++) await read(nbd, i * 64 * KiB, 64 * KiB);
    // Questions come after 1, 2, 4 ... reads, and after 64 at most.
    expect(asked).toEqual([0, 1, 2, 3, 5, 8, 13, 22, 39, 72]);
    type = zero;
    for (let i = 100; i < 256; i++) await read(nbd, i * 64 * KiB, 64 * KiB);
    expect(asked.slice(10, 13)).toEqual([137, 138, 139]);
    expect(asked.at(-1)).toBe(255);
  });
});

describe("while a read with holes waits", () => {
  test("it counts as one request, and others are answered before", async () => {
    const { plugin } = sparse([
      [0, 0],
      [64 * KiB, zero],
    ]);
    const held = new Held();
    const extents = async (...args: Parameters<typeof plugin.extents>) => {
      await held.wait("extents");
      await plugin.extents(...args);
    };
    await using it = await running({ plugin: { ...plugin, extents } });
    const nbd = await connected(it);
    nbd.request({ type: READ, cookie: 1n, count: 128 * KiB });
    await held.reached(1);
    nbd.request({ type: READ, cookie: 2n, count: 512 });
    expect(await nbd.chunk()).toHaveProperty("cookie", 2n);
    held.release("extents");
    const chunks = await chunksOf(nbd);
    expect(chunks.map(({ cookie }) => cookie)).toEqual([1n, 1n]);
    expect(assembled(chunks, 0, 128 * KiB).shape).toEqual([
      [0, 64],
      [64, -64],
    ]);
  });

  test("no other request runs if requests are serialized", async () => {
    const { calls, plugin } = sparse(
      [
        [0, 0],
        [64 * KiB, zero],
        [128 * KiB, 0],
      ],
      true,
    );
    await using it = await running({ plugin, threadModel: "serialize_requests" });
    const nbd = await connected(it);
    nbd.request({ type: READ, cookie: 1n, count: 256 * KiB });
    nbd.request({ type: READ, cookie: 2n, count: 1024 });
    await chunksOf(nbd);
    await chunksOf(nbd);
    expect(calls).toEqual(["extents 256 0", "pread 64 0", "pread 128 128", "pread 1 0"]);
  });

  test("a client that leaves does not disturb others", async () => {
    const { plugin } = sparse([[0, zero]]);
    const held = new Held();
    const extents = async (...args: Parameters<typeof plugin.extents>) => {
      await held.wait("extents");
      await plugin.extents(...args);
    };
    await using it = await running({ plugin: { ...plugin, extents } });
    const nbd = await connected(it);
    nbd.request({ type: READ, count: 128 * KiB });
    await held.reached(1);
    nbd.terminate();
    const { client: other } = await it.structured();
    expect((await read(other, 0, 512)).shape).toEqual([[0, 0.5]]);
    held.releaseAll();
  });
});

describe("a client that takes no replies", () => {
  test.each([{ later: false }, { later: true }])(
    "needs bounded memory, and gets all replies later (later=$later)",
    async ({ later }) => {
      const half: Layout = [
        [0, 0],
        [64 * KiB, zero],
        [128 * KiB, 0],
      ];
      const { calls, disk, plugin } = sparse(half, later);
      await using it = await running({ plugin });
      const nbd = await connected(it);
      nbd.pause();
      const count = 1500;
      const reads = Array.from({ length: count }, (_, i) =>
        request({ type: READ, cookie: BigInt(i), offset: BigInt(16 * KiB), count: 128 * KiB }),
      );
      nbd.send(bytes(...reads));
      await nbd.sent();
      let most = 0;
      for (let i = 0; i < 50; i++) {
        await turns(1);
        most = Math.max(most, it.server.heldBytes);
      }
      expect(most).toBeGreaterThan(0);
      expect(most).toBeLessThan(later ? 36 * 1024 * KiB : 2 * 1024 * KiB);
      expect(calls.length).toBeLessThan(2 * count);
      nbd.resume();
      const expected = disk.subarray(16 * KiB, 144 * KiB);
      for (let i = 0; i < count; i++) {
        const { data, shape } = assembled(await chunksOf(nbd), 16 * KiB, 128 * KiB);
        expect(shape).toEqual([
          [16, 48],
          [64, -64],
          [128, 16],
        ]);
        expect(Buffer.compare(data, expected)).toBe(0);
      }
    },
  );
});

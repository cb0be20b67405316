import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { defineFilter, FLAG_FAST_ZERO, FLAG_FUA, FLAG_MAY_TRIM, FLAG_REQ_ONE } from "#api";
import { above, clientOf, configured, errnoOf, mapOf, type Stack } from "#test/chain";

import cow from "./cow.ts";
import { openIn, useTmpdir } from "./temp-fixture.ts";

const size = 256 * 1024 + 100;
const disk = () => Uint8Array.from({ length: size }, (_, at) => at * 7 + (at >> 8));
const temp = mkdtempSync(join(tmpdir(), "cow-test-"));
afterAll(() => rmSync(temp, { recursive: true }));

async function bytes(stack: Stack, offset: number, count: number): Promise<Uint8Array> {
  const buf = new Uint8Array(count);
  await stack.next.pread(buf, BigInt(offset), 0);
  return buf;
}

/** The requests that reached the layer below while `go` ran. */
async function callsOf(stack: Stack, go: () => unknown): Promise<string[]> {
  stack.calls.length = 0;
  await go();
  return [...stack.calls];
}

describe("the cow filter", () => {
  test("has every capability, even over a layer without any", async () => {
    for (const canWrite of [true, false]) {
      await using stack = await above(disk(), cow, {}, { canWrite });
      const { next } = stack;
      expect({
        canWrite: await next.canWrite(),
        canFlush: await next.canFlush(),
        canTrim: await next.canTrim(),
        canZero: await next.canZero(),
        canFastZero: await next.canFastZero(),
        canFua: await next.canFua(),
        canMultiConn: await next.canMultiConn(),
        canCache: await next.canCache(),
        size: await next.getSize(),
      }).toEqual({
        canWrite: true,
        canFlush: true,
        canTrim: true,
        canZero: "native",
        canFastZero: true,
        canFua: "native",
        canMultiConn: true,
        canCache: "native",
        size: BigInt(size),
      });
    }
  });

  test("keeps a read-only connection read-only", async () => {
    await using stack = await above(disk(), cow, {}, { readonly: true });
    expect(await stack.next.canWrite()).toBe(false);
  });

  test("opens the layer below read-only", async () => {
    const opened: unknown[] = [];
    const spy = defineFilter({
      name: "spy",
      async open(next, _config, readonly, exportName) {
        opened.push([readonly, exportName]);
        await next(readonly, exportName);
      },
    });
    const stack = await above(disk(), cow, {}, { below: [spy], exportName: "x" });
    await stack.close();
    expect(opened).toEqual([[true, "x"]]);
  });

  test("returns written, zeroed and trimmed data, and never changes the layer below", async () => {
    await using stack = await above(disk(), cow);
    const { next } = stack;
    await next.pwrite(new Uint8Array(1000).fill(1), 65000n, FLAG_FUA);
    await next.zero(70000, 70000n, FLAG_MAY_TRIM | FLAG_FUA | FLAG_FAST_ZERO);
    await next.trim(100, BigInt(size - 100), FLAG_FUA);
    await next.flush(0);
    const model = disk()
      .fill(1, 65000, 66000)
      .fill(0, 70000, 140000)
      .fill(0, size - 100);
    expect(await bytes(stack, 0, size)).toEqual(model);
    expect(stack.disk).toEqual(disk());
    expect(stack.calls.every((call) => call.startsWith("pread "))).toBe(true);
  });

  test("shares one overlay among all connections, including later ones", async () => {
    await using stack = await above(disk(), cow);
    await stack.next.pwrite(Uint8Array.of(1, 2, 3), 5n, 0);
    const second = stack.chain.connect(clientOf(stack.chain, 2));
    await second.open(false, "", false);
    const buf = new Uint8Array(3);
    await second.top.pread(buf, 5n, 0);
    await second.top.pwrite(Uint8Array.of(9), 6n, 0);
    await second.close();
    expect([[...buf], [...(await bytes(stack, 5, 3))]]).toEqual([
      [1, 2, 3],
      [1, 9, 3],
    ]);
  });

  test("shares nothing between two chains", async () => {
    await using one = await above(disk(), cow);
    await using two = await above(disk(), cow);
    await one.next.pwrite(Uint8Array.of(1), 0n, 0);
    expect([...(await bytes(two, 0, 1))]).toEqual([0]);
  });

  test("can be stacked on itself", async () => {
    await using stack = await above(disk(), cow, { "cow-on-read": "true" }, { below: [cow] });
    await stack.next.pwrite(Uint8Array.of(255), 0n, 0);
    expect([...(await bytes(stack, 0, 2))]).toEqual([255, 7]);
    expect(stack.disk).toEqual(disk());
  });

  test("reads neighbouring blocks in the same place in one call", async () => {
    await using stack = await above(disk(), cow, { "cow-block-size": "4k" });
    await stack.next.pwrite(new Uint8Array(8192), 40960n, 0);
    await stack.next.trim(4096, 61440n, 0);
    expect(await callsOf(stack, () => bytes(stack, 100, size - 100))).toEqual([
      "pread 40860 100",
      "pread 12288 49152",
      `pread ${size - 65536} 65536`,
    ]);
  });

  test("writes whole blocks without reading them, even the short one at the end", async () => {
    await using stack = await above(disk(), cow);
    const calls = await callsOf(stack, async () => {
      await stack.next.pwrite(new Uint8Array(131072), 65536n, 0);
      await stack.next.pwrite(new Uint8Array(100), 262144n, 0);
      await stack.next.pwrite(new Uint8Array(65636), 196608n, 0);
    });
    expect(calls).toEqual([]);
  });

  test("reads partially written blocks once", async () => {
    await using stack = await above(disk(), cow);
    const write = () => stack.next.pwrite(new Uint8Array(65536).fill(1), 1000n, 0);
    expect(await callsOf(stack, write)).toEqual(["pread 65536 0", "pread 65536 65536"]);
    expect(await callsOf(stack, write)).toEqual([]);
    const end = () => stack.next.pwrite(new Uint8Array(50).fill(1), 262194n, 0);
    expect(await callsOf(stack, end)).toEqual(["pread 100 262144"]);
  });

  test("trims and zeroes whole blocks without reading them", async () => {
    await using stack = await above(disk(), cow);
    const calls = await callsOf(stack, async () => {
      await stack.next.trim(65536, 0n, 0);
      await stack.next.zero(131072, 65536n, 0);
      await stack.next.zero(100, 10n, 0);
      await stack.next.pwrite(Uint8Array.of(5), 10n, 0);
      await stack.next.trim(100, 262144n, 0);
    });
    expect(calls).toEqual([]);
    expect(await bytes(stack, 0, 196608)).toEqual(new Uint8Array(196608).fill(5, 10, 11));
  });

  test("answers at once if the layer below does", async () => {
    await using stack = await above(disk(), cow);
    const { next } = stack;
    await next.canWrite();
    await next.canTrim();
    await next.canZero();
    await next.canCache();
    await next.canFlush();
    const buf = new Uint8Array(100);
    expect([
      next.pread(buf, 7n, 0),
      next.pwrite(buf, 65500n, 0),
      next.trim(100, 7n, 0),
      next.zero(100, 131000n, 0),
      next.cache(100, 7n, 0),
      next.flush(0),
    ]).toEqual([undefined, undefined, undefined, undefined, undefined, undefined]);
  });

  test("fails a request with the error of the layer below, and changes nothing", async () => {
    const broken = { now: false };
    const fail = () => {
      if (broken.now) throw Object.assign(new Error("broken"), { code: "ENXIO" });
    };
    for (const later of [false, true]) {
      await using stack = await above(disk(), cow, { "cow-on-read": "true" }, { fail, later });
      const write = () => stack.next.pwrite(Uint8Array.of(1), 0n, 0);
      broken.now = true;
      expect([await errnoOf(write), await errnoOf(() => bytes(stack, 0, 10))]).toEqual([
        "ENXIO",
        "ENXIO",
      ]);
      broken.now = false;
      expect(await bytes(stack, 0, 10)).toEqual(disk().slice(0, 10));
    }
  });
});

describe("the parameter cow-block-size", () => {
  test.each(["4095", "2048", "0", "12288", "4294967296", "", "-4096", "x"])(
    "refuses %p",
    async (text) => {
      await expect(configured(cow, { "cow-block-size": text })).rejects.toThrow(
        `cow-block-size=${text}: expected a power of two from 4096 to 2G`,
      );
    },
  );

  test.each([
    ["4096", 4096],
    ["64k", 65536],
    ["1M", size],
    ["2G", size],
  ])("copies blocks of its size: %s", async (text, count) => {
    await using stack = await above(disk(), cow, { "cow-block-size": text });
    const write = () => stack.next.pwrite(Uint8Array.of(1), 0n, 0);
    expect(await callsOf(stack, write)).toEqual([`pread ${count} 0`]);
  });

  test("is 64k by default", async () => {
    await using stack = await above(disk(), cow);
    const write = () => stack.next.pwrite(Uint8Array.of(1), 0n, 0);
    expect(await callsOf(stack, write)).toEqual(["pread 65536 0"]);
  });
});

describe("the parameter cow-on-cache", () => {
  test.each(["x", "", "/tmp"])("refuses %p", async (text) => {
    await expect(configured(cow, { "cow-on-cache": text })).rejects.toThrow(
      `cow-on-cache=${text}: expected true or false`,
    );
  });

  test.each([{}, { "cow-on-cache": "false" }])("is off with the parameters %j", async (texts) => {
    await using stack = await above(disk(), cow, texts);
    await stack.next.pwrite(new Uint8Array(65536), 65536n, 0);
    const cache = () => stack.next.cache(196000, 100n, 0);
    expect(await callsOf(stack, cache)).toEqual(["cache 65436 100", "cache 65028 131072"]);
    expect(await callsOf(stack, () => bytes(stack, 0, 10))).toEqual(["pread 10 0"]);
  });

  test("copies the blocks if it is true", async () => {
    await using stack = await above(disk(), cow, { "cow-on-cache": "true" });
    const cache = () => stack.next.cache(196000, 100n, 0);
    expect(await callsOf(stack, cache)).toEqual(["pread 196608 0"]);
    expect(await callsOf(stack, () => bytes(stack, 0, 196608))).toEqual([]);
    expect(await callsOf(stack, cache)).toEqual([]);
    expect(await bytes(stack, 0, size)).toEqual(disk());
  });

  test("does nothing over a layer that cannot cache", async () => {
    const none = defineFilter({ name: "none", canCache: () => "none" });
    await using stack = await above(disk(), cow, {}, { below: [none] });
    expect(await callsOf(stack, () => stack.next.cache(100, 100n, 0))).toEqual([]);
  });
});

describe("the parameter cow-on-read", () => {
  test.each(["x", "", "relative/path"])("refuses %p", async (text) => {
    await expect(configured(cow, { "cow-on-read": text })).rejects.toThrow(
      `cow-on-read=${text}: expected true, false or an absolute path`,
    );
  });

  test.each([{}, { "cow-on-read": "false" }])("is off with the parameters %j", async (texts) => {
    await using stack = await above(disk(), cow, texts);
    const twice = async () => [await bytes(stack, 10, 10), await bytes(stack, 10, 10)];
    expect(await callsOf(stack, twice)).toEqual(["pread 10 10", "pread 10 10"]);
  });

  test("copies the blocks if it is true", async () => {
    await using stack = await above(disk(), cow, { "cow-on-read": "true" });
    expect(await callsOf(stack, () => bytes(stack, 65530, 10))).toEqual(["pread 131072 0"]);
    expect(await callsOf(stack, () => bytes(stack, 262200, 10))).toEqual(["pread 100 262144"]);
    expect(await callsOf(stack, () => bytes(stack, 0, 131072))).toEqual([]);
    expect(await bytes(stack, 0, size)).toEqual(disk());
  });

  test("copies the blocks while the file of its path exists", async () => {
    const path = join(temp, "on-read");
    await using stack = await above(disk(), cow, { "cow-on-read": path });
    expect(await callsOf(stack, () => bytes(stack, 0, 10))).toEqual(["pread 10 0"]);
    writeFileSync(path, "");
    expect(await callsOf(stack, () => bytes(stack, 0, 10))).toEqual(["pread 65536 0"]);
    rmSync(path);
    expect(await callsOf(stack, () => bytes(stack, 65536, 10))).toEqual(["pread 10 65536"]);
    expect(await callsOf(stack, () => bytes(stack, 0, 10))).toEqual([]);
  });
});

/** The largest possible disk, full of 3. */
const endless = defineFilter({
  name: "endless",
  getSize: () => 2n ** 63n - 1n,
  pread: (_next, _config, buf) => void buf.fill(3),
  canCache: () => "none",
});

test("the largest disk uses no memory until it is written", async () => {
  const end = 2n ** 63n - 1n;
  await using stack = await above(disk(), cow, { "cow-block-size": "4k" }, { below: [endless] });
  const { next } = stack;
  await next.pwrite(Uint8Array.of(1, 2), end - 2n, 0);
  await next.trim(0xffffffff, end - 2n ** 40n, 0);
  await next.pwrite(Uint8Array.of(4), 2n ** 62n + 1n, 0);
  const buf = new Uint8Array(4);
  await next.pread(buf, end - 4n, 0);
  const middle = new Uint8Array(3);
  await next.pread(middle, 2n ** 62n, 0);
  const trimmed = new Uint8Array(2);
  await next.pread(trimmed, end - 2n ** 40n - 1n, 0);
  expect([[...buf], [...middle], [...trimmed]]).toEqual([
    [3, 3, 1, 2],
    [3, 4, 3],
    [3, 0],
  ]);
});

test("the temporary file has no name while the server runs, and is closed when it stops", async () => {
  using _ = useTmpdir(temp);
  const stack = await above(disk(), cow);
  await stack.next.pwrite(Uint8Array.of(1), 0n, 0);
  expect([readdirSync(temp), openIn(temp).length]).toEqual([[], 1]);
  await stack.close();
  expect(openIn(temp)).toEqual([]);
});

test("a missing $TMPDIR is refused", async () => {
  using _ = useTmpdir(join(temp, "missing"));
  await expect(above(disk(), cow)).rejects.toThrow("cannot create the temporary file");
});

describe("extents", () => {
  /** 16 blocks of 4096 bytes, and 100 more bytes. The second block has data. */
  const sparse = () => new Uint8Array(65636).fill(1, 4096, 8192);
  const texts = { "cow-block-size": "4096" };

  test("are those of the layer below until something is written", async () => {
    await using stack = await above(sparse(), cow, texts);
    expect(await mapOf(stack.next, 0n, 65636)).toEqual([
      "0+4096 hole zero",
      "4096+4096 data",
      "8192+57444 hole zero",
    ]);
    expect(await mapOf(stack.next, 5000n, 10)).toEqual(["5000+3192 data"]);
    expect(stack.calls).toEqual(["extents 65636 0", "extents 3192 5000"]);
  });

  test("report written blocks as data and trimmed blocks as holes", async () => {
    await using stack = await above(sparse(), cow, texts);
    await stack.next.pwrite(new Uint8Array(1), 20000n, 0);
    await stack.next.trim(4096, 4096n, 0);
    await stack.next.zero(100, 65536n, 0);
    expect(await mapOf(stack.next, 0n, 65636)).toEqual([
      "0+16384 hole zero",
      "16384+4096 data",
      "20480+45156 hole zero",
    ]);
    expect(await mapOf(stack.next, 17000n, 5000)).toEqual([
      "17000+3480 data",
      "20480+4096 hole zero",
    ]);
  });

  test("REQ_ONE returns one extent", async () => {
    await using stack = await above(sparse(), cow, texts);
    await stack.next.trim(4096, 4096n, 0);
    stack.calls.length = 0;
    expect(await mapOf(stack.next, 0n, 65636, FLAG_REQ_ONE)).toEqual(["0+4096 hole zero"]);
    expect(await mapOf(stack.next, 5000n, 5000, FLAG_REQ_ONE)).toEqual(["5000+3192 hole zero"]);
    expect(stack.calls).toEqual(["extents 4096 0 flags=4"]);
  });

  test("are data if the layer below cannot report extents", async () => {
    await using stack = await above(sparse(), cow, texts, { extents: false });
    await stack.next.trim(4096, 4096n, 0);
    expect(await mapOf(stack.next, 0n, 65636)).toEqual([
      "0+4096 data",
      "4096+4096 hole zero",
      "8192+57444 data",
    ]);
  });

  test("arrive later if the layer below answers later", async () => {
    await using stack = await above(sparse(), cow, texts, { later: true });
    expect(await mapOf(stack.next, 4096n, 8192)).toEqual(["4096+4096 data", "8192+4096 hole zero"]);
  });
});

describe("block sizes", () => {
  const below = (minimum: number, preferred: number, maximum: number) => [
    defineFilter({ name: "below", blockSize: () => ({ minimum, preferred, maximum }) }),
  ];
  test.each([
    { block: "4096", below: [], is: [1, 4096, 0xffffffff] },
    { block: "64m", below: [], is: [1, 32 << 20, 0xffffffff] },
    { block: "64k", below: below(512, 4096, 32 << 20), is: [512, 65536, 32 << 20] },
    { block: "64k", below: below(512, 1 << 20, 0xffffffff), is: [512, 1 << 20, 0xffffffff] },
    { block: "64k", below: below(512, 512, 4096), is: [512, 4096, 4096] },
  ])("are $is with blocks of $block", async (it) => {
    const options = { below: it.below };
    await using stack = await above(disk(), cow, { "cow-block-size": it.block }, options);
    const { minimum, preferred, maximum } = await stack.next.blockSize();
    expect([minimum, preferred, maximum]).toEqual([...it.is]);
  });
});

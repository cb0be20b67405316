/** Compares the copy with a plain array. A failure prints fast-check's seed. */
import { describe, expect, test } from "bun:test";
import { openSync } from "node:fs";

import * as fc from "fast-check";

import { NbdError, type NextOps } from "#api";
import { above, type Stack } from "#test/chain";

import { fives } from "./below-fixture.ts";
import { Copy } from "./copy.ts";
import cow from "./cow.ts";
import { gate, settled } from "./gate-fixture.ts";
import { Overlay } from "./overlay.ts";

const block = 4096;
/** The last block is shorter. */
const size = 12 * block + 1000;
const original = Uint8Array.from({ length: size }, (_, at) => 1 + ((at * 7 + (at >> 9)) % 100));

interface Operation {
  readonly kind: "cache" | "pread" | "pwrite" | "trim" | "zero";
  readonly offset: number;
  readonly count: number;
  readonly byte: number;
}

/** Ranges, often at the borders of blocks and of the disk. */
const edge = fc
  .tuple(fc.nat(13), fc.constantFrom(-512, -1, 0, 1, 512, 1000))
  .map(([number, by]) => Math.min(size, Math.max(0, number * block + by)));
const at = fc.oneof(edge, fc.nat(size));
const operation: fc.Arbitrary<Operation> = fc
  .record({
    kind: fc.constantFrom("cache", "pread", "pwrite", "pwrite", "trim", "zero"),
    one: at,
    other: at,
    byte: fc.integer({ min: 101, max: 255 }),
  })
  .map(({ kind, one, other, byte }) => {
    const offset = Math.min(one, other, size - 1);
    return { kind, offset, count: Math.max(1, Math.abs(one - other)), byte };
  });

function start(next: NextOps, { kind, offset, count, byte }: Operation, buf: Uint8Array) {
  switch (kind) {
    case "pread":
      return next.pread(buf, BigInt(offset), 0);
    case "pwrite":
      return next.pwrite(buf.fill(byte), BigInt(offset), 0);
    default:
      return next[kind](count, BigInt(offset), 0);
  }
}

/** The byte that the operation leaves in its range, or undefined if it changes nothing. */
function leaves({ kind, byte }: Operation): number | undefined {
  if (kind === "pwrite") return byte;
  return kind === "trim" || kind === "zero" ? 0 : undefined;
}

async function whole(stack: Stack): Promise<Uint8Array> {
  const buf = new Uint8Array(size);
  await stack.next.pread(buf, 0n, 0);
  return buf;
}

const settings = fc.record({
  "cow-block-size": fc.constantFrom("4096", "8192", "65536"),
  "cow-on-read": fc.boolean().map(String),
  "cow-on-cache": fc.boolean().map(String),
});

function expectUntouched(stack: Stack) {
  expect(stack.disk).toEqual(original);
  expect(stack.calls.filter((call) => !/^(pread|cache) /.test(call))).toEqual([]);
}

/** A stack whose reads of the layer below wait for the test. */
const over = (below: ReturnType<typeof gate>["filter"], texts = { "cow-block-size": "4k" }) =>
  above(original.slice(), cow, texts, { below: [below] });

describe("requests one after the other", () => {
  test.each([false, true])(
    "behave as on a plain array (the layer below answers later: %p)",
    async (later) => {
      await fc.assert(
        fc.asyncProperty(
          settings,
          fc.array(operation, { maxLength: 25 }),
          async (texts, operations) => {
            await using stack = await above(original.slice(), cow, texts, { later });
            const model = original.slice();
            for (const one of operations) {
              const buf = new Uint8Array(one.count);
              const end = one.offset + one.count;
              await start(stack.next, one, buf);
              if (one.kind === "pread") expect(buf).toEqual(model.slice(one.offset, end));
              const left = leaves(one);
              if (left !== undefined) model.fill(left, one.offset, end);
            }
            expect(await whole(stack)).toEqual(model);
            expectUntouched(stack);
          },
        ),
        { numRuns: 60 },
      );
    },
  );
});

describe("requests at the same time", () => {
  test("leave each byte with the value of one request, or unchanged", async () => {
    const batches = fc.array(fc.array(operation, { minLength: 1, maxLength: 6 }), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(
        settings,
        batches,
        fc.infiniteStream(fc.nat(1000)),
        async (texts, all, order) => {
          const { control, filter } = gate();
          await using stack = await above(original.slice(), cow, texts, { below: [filter] });
          let before: Uint8Array = original.slice();
          for (const batch of all) {
            control.closed = true;
            const buffers = batch.map(({ count }) => new Uint8Array(count));
            const running = batch.map((one, index) =>
              start(stack.next, one, buffers[index] ?? new Uint8Array(0)),
            );
            while (control.waiting.length > 0) await control.release(order.next().value);
            await Promise.all(running);
            control.closed = false;
            const after = await whole(stack);
            const seen = [{ kind: "pread", offset: 0, count: size, byte: 0 } as const, ...batch];
            for (const [index, one] of seen.entries()) {
              if (one.kind !== "pread") continue;
              checkBytes(one, index === 0 ? after : buffers[index - 1], before, batch, index === 0);
            }
            before = after;
          }
          expectUntouched(stack);
        },
      ),
      { numRuns: 60 },
    );
  });

  /**
   * Expect each read byte to be the old one or that of some request of the batch. With `isFinal`, only bytes that no
   * request changes may be old.
   */
  function checkBytes(
    read: Operation,
    bytes: Uint8Array | undefined,
    before: Uint8Array,
    batch: readonly Operation[],
    isFinal: boolean,
  ) {
    for (let index = 0; index < read.count; index += 1) {
      const place = read.offset + index;
      const wanted = batch
        .filter(({ offset, count }) => place >= offset && place < offset + count)
        .map(leaves)
        .filter((byte) => byte !== undefined);
      const possible = isFinal && wanted.length > 0 ? wanted : [before[place], ...wanted];
      const byte = bytes?.[index];
      // One comparison is far faster than an expectation for each byte.
      if (!possible.includes(byte)) expect({ place, byte }).toEqual({ place, byte: possible[0] });
    }
  }

  test("change different parts of one block without losing any", async () => {
    const { control, filter } = gate();
    await using stack = await above(original.slice(), cow, {}, { below: [filter] });
    const writes = [0, 1, 2, 3].map((number) =>
      stack.next.pwrite(new Uint8Array(100).fill(200 + number), BigInt(1000 * number), 0),
    );
    expect(control.waiting.length).toBe(4);
    await control.release(2);
    await control.release(0);
    await control.release(1);
    await control.release(0);
    await Promise.all(writes);
    const model = original.slice();
    for (const number of [0, 1, 2, 3]) model.fill(200 + number, 1000 * number, 1000 * number + 100);
    expect(await whole(stack)).toEqual(model);
  });

  test("do not undo a write of the whole block during a write of a part", async () => {
    const { control, filter } = gate();
    await using stack = await over(filter);
    const part = stack.next.pwrite(Uint8Array.of(201), 10n, 0);
    expect(stack.next.pwrite(new Uint8Array(block).fill(202), 0n, 0)).toBeUndefined();
    await control.release(0);
    await part;
    const buf = new Uint8Array(block);
    await stack.next.pread(buf, 0n, 0);
    expect(buf).toEqual(new Uint8Array(block).fill(202).fill(201, 10, 11));
  });

  test("do not undo a trim of the block during a write of a part", async () => {
    const { control, filter } = gate();
    await using stack = await over(filter);
    const part = stack.next.pwrite(Uint8Array.of(201), 10n, 0);
    await stack.next.trim(block, 0n, 0);
    await control.release(0);
    await part;
    const buf = new Uint8Array(block);
    await stack.next.pread(buf, 0n, 0);
    expect(buf).toEqual(new Uint8Array(block).fill(201, 10, 11));
  });

  test.each(["cow-on-read", "cow-on-cache"])(
    "do not let %s undo a write during its read",
    async (key) => {
      const { control, filter } = gate();
      await using stack = await over(filter, { "cow-block-size": "4k", [key]: "true" });
      const buf = new Uint8Array(3 * block);
      const read =
        key === "cow-on-read" ? stack.next.pread(buf, 0n, 0) : stack.next.cache(3 * block, 0n, 0);
      await stack.next.pwrite(new Uint8Array(block).fill(203), BigInt(block), 0);
      await control.release(0);
      await read;
      control.closed = false;
      stack.calls.length = 0;
      await stack.next.pread(buf, 0n, 0);
      expect(buf).toEqual(original.slice(0, 3 * block).fill(203, block, 2 * block));
      expect(stack.calls).toEqual([]);
    },
  );

  test("wait only for the layer below", async () => {
    const { control, filter } = gate();
    await using stack = await over(filter);
    const slow = stack.next.pread(new Uint8Array(block), 0n, 0);
    expect(stack.next.pwrite(new Uint8Array(block).fill(7), BigInt(block), 0)).toBeUndefined();
    expect(stack.next.pread(new Uint8Array(block), BigInt(block), 0)).toBeUndefined();
    await settled();
    expect(control.waiting.length).toBe(1);
    await control.release(0);
    await slow;
  });
});

describe("an overlay whose disk is full", () => {
  const below = fives(BigInt(size));
  const full = (savesReads = false) =>
    new Copy(new Overlay(openSync("/dev/full", "r+")), {
      blockSize: block,
      savesReads: () => savesReads,
    });
  const errno = (call: () => unknown) => {
    try {
      call();
    } catch (error) {
      return error instanceof NbdError ? error.errno : error;
    }
    return "no error";
  };

  test("fails writes with ENOSPC, and does not change the block", () => {
    const copy = full();
    expect(errno(() => copy.write(below, new Uint8Array(block), 0n))).toBe("ENOSPC");
    expect(errno(() => copy.write(below, new Uint8Array(10), 5000n))).toBe("ENOSPC");
    expect(errno(() => copy.discard(below, 10, 5000n))).toBe("ENOSPC");
    const buf = new Uint8Array(3 * block);
    expect(errno(() => copy.read(below, buf, 0n))).toBe("no error");
    expect(buf).toEqual(new Uint8Array(3 * block).fill(5));
  });

  test("still zeroes whole blocks", () => {
    const copy = full();
    expect(errno(() => copy.discard(below, 2 * block, 0n))).toBe("no error");
    const buf = new Uint8Array(block).fill(1);
    expect(errno(() => copy.read(below, buf, 0n))).toBe("no error");
    expect(buf).toEqual(new Uint8Array(block));
  });

  test("does not fail reads with cow-on-read", () => {
    const copy = full(true);
    const buf = new Uint8Array(100);
    expect(errno(() => copy.read(below, buf, 7n))).toBe("no error");
    expect(errno(() => copy.cache(below, 10 * block, 0n, true))).toBe("no error");
    expect(buf).toEqual(new Uint8Array(100).fill(5));
  });
});

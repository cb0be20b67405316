import { describe, expect, test } from "bun:test";

import * as fc from "fast-check";

import { ALLOCATED, Blocks, type BlockState, HOLE, TRIMMED } from "./blocks.ts";

/** The blocks of a disk with an overlay of its own. */
function blocksIn(pageBlocks: number): Blocks {
  let claimed = 0;
  return new Blocks(pageBlocks, (blocks) => (claimed += blocks) - blocks);
}

describe("Blocks", () => {
  test("starts with holes at any block number", () => {
    const blocks = blocksIn(4096);
    expect([blocks.get(0), blocks.get(2 ** 51 - 1)]).toEqual([HOLE, HOLE]);
    // The most that one request can cover: 4 GiB in blocks of 4096.
    expect(blocks.run(0, 2 ** 20)).toBe(2 ** 20);
  });

  test("works at the end of the largest disk", () => {
    const blocks = blocksIn(4096);
    const last = 2 ** 51 - 1;
    blocks.set(last, 1, ALLOCATED);
    expect([blocks.get(last - 1), blocks.get(last), blocks.place(last)]).toEqual([
      HOLE,
      ALLOCATED,
      4095,
    ]);
    expect(blocks.run(last - 10, 11)).toBe(10);
  });

  test("assigns places to pages in the order of the requests", () => {
    const blocks = blocksIn(8);
    expect([blocks.place(80), blocks.place(3), blocks.place(87), blocks.place(8)]).toEqual([
      0, 11, 7, 16,
    ]);
  });

  test("ends a run of allocated blocks at the end of its page, but not other runs", () => {
    const blocks = blocksIn(8);
    blocks.set(4, 10, ALLOCATED);
    expect([
      blocks.run(0, 100),
      blocks.run(4, 100),
      blocks.run(8, 100),
      blocks.run(14, 100),
    ]).toEqual([4, 4, 6, 100]);
    blocks.set(4, 10, TRIMMED);
    expect(blocks.run(4, 100)).toBe(10);
    expect(blocks.run(4, 3)).toBe(3);
  });

  test.each([1, 3, 4, 8, 32])(
    "behaves like a plain array with pages of %d blocks",
    (pageBlocks) => {
      const count = 100;
      const range = fc.record({
        first: fc.nat(count - 1),
        length: fc.integer({ min: 1, max: 40 }),
        state: fc.constantFrom<BlockState>(HOLE, ALLOCATED, TRIMMED),
      });
      fc.assert(
        fc.property(fc.array(range, { maxLength: 12 }), (ranges) => {
          const blocks = blocksIn(pageBlocks);
          const model: BlockState[] = Array.from({ length: count }, () => HOLE);
          for (const { first, length, state } of ranges) {
            const some = Math.min(length, count - first);
            blocks.set(first, some, state);
            model.fill(state, first, first + some);
          }
          expect(model.map((_, block) => blocks.get(block))).toEqual(model);
          for (const [block, state] of model.entries()) {
            const end = model.findIndex(
              (other, at) =>
                at > block && (other !== state || (state === ALLOCATED && at % pageBlocks === 0)),
            );
            expect(blocks.run(block, count - block)).toBe((end < 0 ? count : end) - block);
          }
        }),
      );
    },
  );

  test("assigns a different place to each block", () => {
    const numbers = fc.uniqueArray(fc.nat(2 ** 31 - 1), { maxLength: 50 });
    fc.assert(
      fc.property(numbers, fc.constantFrom(1, 4, 4096), (all, pageBlocks) => {
        const blocks = blocksIn(pageBlocks);
        expect(new Set(all.map((block) => blocks.place(block))).size).toBe(all.length);
        expect(Math.max(0, ...all.map((block) => blocks.place(block)))).toBeLessThan(
          Math.max(1, all.length * pageBlocks),
        );
      }),
    );
  });
});

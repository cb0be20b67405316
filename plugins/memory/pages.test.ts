/** Compares the sparse array with a plain one. */
import { describe, expect, test } from "bun:test";

import * as fc from "fast-check";

import { NbdError } from "#api";

import { Pages, pageSize } from "./pages.ts";

const total = 4 * pageSize;

function fill(pages: Pages, offset: number, count: number, byte: number): void {
  pages.write(new Uint8Array(count).fill(byte), BigInt(offset));
}

describe("the sparse array", () => {
  test("uses no memory until the first write", () => {
    const pages = new Pages();
    const buf = new Uint8Array(100).fill(1);
    pages.read(buf, 123n);
    pages.zero(total, 0n);
    expect(buf).toEqual(new Uint8Array(100));
    expect(pages.used).toBe(0);
  });

  test("frees pages that are zeroed as a whole", () => {
    const pages = new Pages();
    fill(pages, 0, total, 1);
    expect(pages.used).toBe(4);
    pages.zero(2 * pageSize, BigInt(pageSize));
    expect(pages.used).toBe(2);
  });

  test("frees a page when its last bytes are zeroed, not before", () => {
    const pages = new Pages();
    fill(pages, 0, pageSize, 1);
    pages.zero(pageSize - 1, 0n);
    expect(pages.used).toBe(1);
    pages.zero(1, BigInt(pageSize - 1));
    expect(pages.used).toBe(0);
  });

  test.each([(1n << 53n) - 3n, (1n << 62n) + 32_766n, (1n << 63n) - 9n])(
    "is exact across the end of a page at %p",
    (offset) => {
      const pages = new Pages();
      pages.write(new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]), offset);
      const buf = new Uint8Array(10).fill(9);
      pages.read(buf, offset - 1n);
      expect([...buf]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 0]);
    },
  );

  test("reports ENOMEM when memory is exhausted, and keeps its data", () => {
    let left = 1;
    const pages = new Pages((size) => {
      left -= 1;
      if (left < 0) throw new RangeError("Out of memory");
      return Buffer.alloc(size);
    });
    fill(pages, 0, 10, 5);
    let caught: unknown;
    try {
      fill(pages, pageSize, 10, 6);
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(NbdError);
    expect(caught).toMatchObject({ errno: "ENOMEM" });
    const buf = new Uint8Array(10);
    pages.read(buf, 0n);
    expect(buf).toEqual(new Uint8Array(10).fill(5));
  });

  test("behaves like a plain array", () => {
    const range = fc
      .tuple(fc.integer({ min: 0, max: total - 1 }), fc.integer({ min: 1, max: total }))
      .map(([offset, count]) => ({ offset, count: Math.min(count, total - offset) }));
    const step = fc.record({ range, byte: fc.integer({ min: 0, max: 3 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const pages = new Pages();
        const plain = new Uint8Array(total);
        for (const { range: part, byte } of steps) {
          if (byte === 0) pages.zero(part.count, BigInt(part.offset));
          else fill(pages, part.offset, part.count, byte);
          plain.fill(byte, part.offset, part.offset + part.count);
        }
        const buf = new Uint8Array(total).fill(0xee);
        pages.read(buf, 0n);
        expect(Buffer.compare(buf, plain)).toBe(0);
      }),
      { numRuns: 50, seed: 20_261_123 },
    );
  });
});

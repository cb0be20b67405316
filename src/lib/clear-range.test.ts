/** Ranges of zeroes in buffers. */
import { expect, test } from "bun:test";

import { ClearRange, takeClear } from "./clear-range.ts";

function bufferWithRange() {
  const bytes = new Uint8Array(new ArrayBuffer(100)).fill(1);
  const range = new ClearRange(bytes.buffer);
  // The first read makes the owner clear the memory from now on.
  expect(takeClear(bytes.subarray(0, 1))).toBe(false);
  return { bytes, range };
}

test("memory without a range is not clear", () => {
  expect(takeClear(new Uint8Array(10))).toBe(false);
});

test("memory is cleared only once a read has asked for it", () => {
  const bytes = new Uint8Array(new ArrayBuffer(10)).fill(1);
  const range = new ClearRange(bytes.buffer);
  range.clear(bytes);
  expect(bytes[0]).toBe(1);
  expect(takeClear(bytes)).toBe(false);
  range.clear(bytes);
  expect(bytes[0]).toBe(0);
  expect(takeClear(bytes)).toBe(true);
});

test.each([
  { from: 20, to: 40, isClear: true },
  { from: 25, to: 35, isClear: true },
  { from: 19, to: 40, isClear: false },
  { from: 20, to: 41, isClear: false },
  { from: 50, to: 60, isClear: false },
])("of 20 to 40, $from to $to is clear: $isClear", ({ from, to, isClear }) => {
  const { bytes, range } = bufferWithRange();
  range.clear(bytes.subarray(20, 40));
  expect([...bytes.subarray(19, 41)]).toEqual([1, ...Array<number>(20).fill(0), 1]);
  expect(takeClear(bytes.subarray(from, to))).toBe(isClear);
});

test("a range is used up by the first read, or forgotten", () => {
  const { bytes, range } = bufferWithRange();
  range.clear(bytes);
  expect([takeClear(bytes), takeClear(bytes)]).toEqual([true, false]);
  range.clear(bytes);
  range.forget();
  expect(takeClear(bytes)).toBe(false);
});

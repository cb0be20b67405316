/** Tests of the rules for advised block sizes. */
import { describe, expect, test } from "bun:test";

import { checkBlockSize, checkBlockSizeRange, noBlockSize } from "./block-size.ts";

const checked = (minimum: number, preferred: number, maximum: number) =>
  checkBlockSize({ minimum, preferred, maximum });

describe("checkBlockSize", () => {
  test("accepts a layer without preferences", () => {
    expect(checkBlockSize(noBlockSize)).toBeUndefined();
  });

  test.each([
    [1, 512, 512],
    [512, 4096, 0xffffffff],
    [65536, 65536, 65536],
    [4096, 33554432, 33554432],
    [65536, 33554432, 65536 * 1000],
    [1, 512, 4294967294],
  ])("accepts %p, %p, %p", (minimum, preferred, maximum) => {
    expect(checked(minimum, preferred, maximum)).toBeUndefined();
  });

  test.each([
    [0, 512, 512, /^minimum block size 0: expected a power of 2 from 1 to 65536$/],
    [131072, 131072, 131072, /^minimum block size 131072/],
    [3, 512, 513, /^minimum block size 3/],
    [-1, 512, 512, /^minimum block size -1/],
    [0.5, 512, 512, /^minimum block size 0.5/],
    [1, 256, 512, /^preferred block size 256: expected a power of 2 from 512/],
    [1, 0, 512, /^preferred block size 0/],
    [1, 67108864, 67108864, /^preferred block size 67108864/],
    [1, 768, 1024, /^preferred block size 768/],
    [512, 512, 1000, /^maximum block size 1000: expected a multiple of the minimum \(512\)/],
    [512, 512, 4294967296, /^maximum block size 4294967296: expected an integer/],
    [512, 4096, 2048, /^block sizes 512, 4096, 2048: expected minimum <= preferred <= maximum$/],
    [4096, 512, 4096, /^block sizes 4096, 512, 4096/],
  ])("refuses %p, %p, %p", (minimum, preferred, maximum, message) => {
    expect(checked(minimum, preferred, maximum)).toMatch(message);
  });
});

describe("checkBlockSizeRange", () => {
  test.each([
    [0, 0, 0],
    [1, 67108864, 0xffffffff],
    [3, 2, 1],
  ])("accepts %p, %p, %p", (minimum, preferred, maximum) => {
    expect(checkBlockSizeRange({ minimum, preferred, maximum })).toBeUndefined();
  });

  test.each([
    [-1, 512, 512],
    [1, 0.5, 512],
    [1, 512, 2 ** 32],
    [Number.NaN, 512, 512],
  ])("refuses %p, %p, %p", (minimum, preferred, maximum) => {
    expect(checkBlockSizeRange({ minimum, preferred, maximum })).toMatch(/expected an integer/);
  });
});

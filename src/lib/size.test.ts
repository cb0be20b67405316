/** Tests of the parsers of parameter values, which accept the same as nbdkit's own. */
import { describe, expect, test } from "bun:test";

import { noSizes, sizes } from "./size-fixture.ts";
import { parseBool, parseDelay, parseInteger, parseSize, sizeText } from "./size.ts";

describe("parseSize", () => {
  test.each([...sizes])("reads %p as %p", (text, size) => {
    expect(parseSize(text)).toBe(size);
  });

  test.each([...noSizes])("refuses %p", (text) => {
    expect(parseSize(text)).toBeUndefined();
  });
});

describe("parseBool", () => {
  test.each(["1", "true", "t", "yes", "y", "on", "TRUE", "On"])("reads %p as true", (text) => {
    expect(parseBool(text)).toBe(true);
  });

  test.each(["0", "false", "f", "no", "n", "off", "False", "OFF"])("reads %p as false", (text) => {
    expect(parseBool(text)).toBe(false);
  });

  test.each(["", "2", "01", "maybe", "true ", "yesno"])("refuses %p", (text) => {
    expect(parseBool(text)).toBeUndefined();
  });
});

describe("parseInteger", () => {
  test.each([
    ["0", 0n],
    ["-0", 0n],
    ["12", 12n],
    ["-12", -12n],
    ["+12", 12n],
    [" 12", 12n],
    ["0x1F", 31n],
    ["-0XfF", -255n],
    ["017", 15n],
    ["00", 0n],
    ["123456789012345678901", 123456789012345678901n],
  ])("reads %p as %p", (text, number) => {
    expect(parseInteger(text)).toBe(number);
  });

  test.each(["", "-", "08", "0x", "1k", "1 ", "1.0", "--1"])("refuses %p", (text) => {
    expect(parseInteger(text)).toBeUndefined();
  });
});

describe("parseDelay", () => {
  test.each([
    ["0", 0n],
    ["10", 10_000_000_000n],
    ["1.5", 1_500_000_000n],
    ["1.5s", 1_500_000_000n],
    ["2ms", 2_000_000n],
    ["0.25ms", 250_000n],
    ["3us", 3000n],
    ["3μs", 3000n],
    ["3µs", 3000n],
    ["7ns", 7n],
    ["0.9ns", 0n],
    ["+1", 1_000_000_000n],
    [" 1", 1_000_000_000n],
    ["1.", 1_000_000_000n],
  ])("reads %j as %d ns", (text, delay) => {
    expect(parseDelay(text)).toBe(delay);
  });

  test.each(["", "s", "-1", "1 s", "1m", "1S", "0x1", "1e3", ".5", "99999999999", "1,5"])(
    "refuses %j",
    (text) => {
      expect(parseDelay(text)).toBeUndefined();
    },
  );
});

test("sizeText returns the shortest text of a size", () => {
  const numbers = [0n, 1n, 1023n, 1024n, 1025n, 65536n, 1048576n, 1n << 40n, (1n << 63n) - 1n];
  expect(numbers.map(sizeText)).toEqual([
    "0",
    "1",
    "1023",
    "1k",
    "1025",
    "64k",
    "1M",
    "1T",
    "9223372036854775807",
  ]);
  expect(numbers.map((size) => parseSize(sizeText(size)))).toEqual(numbers);
});

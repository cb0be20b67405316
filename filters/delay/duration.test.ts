/** Tests of parsing times. */
import { describe, expect, test } from "bun:test";

import { largestMs, parseDuration } from "./duration.ts";

describe("parseDuration", () => {
  test.each([
    ["0", 0],
    ["2", 2000],
    ["2s", 2000],
    ["0.5", 500],
    [".25", 250],
    ["3.", 3000],
    ["0.0", 0],
    ["10ms", 10],
    ["2.5ms", 3],
    ["50us", 1],
    ["1000us", 1],
    ["1001us", 2],
    ["1500\u00b5s", 2],
    ["1500\u03bcs", 2],
    ["100ns", 1],
    ["2000001ns", 3],
    ["0ns", 0],
    ["010ms", 10],
    ["+1", 1000],
    [" 1", 1000],
    // Neither of these is a whole number of milliseconds when multiplied in floating point.
    ["4.035", 4035],
    ["1.001s", 1001],
    ["2147483647ms", largestMs],
    ["2147483.647", largestMs],
  ])("reads %j as %d ms", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each([
    "",
    " ",
    ".",
    "ms",
    "-1",
    "-0",
    "1 ms",
    "1ms ",
    "1m",
    "1h",
    "1S",
    "1e3",
    "0x10",
    "1.2.3",
    "1,5",
    "abc",
    "inf",
    "nan",
    "2147483648ms",
    "2147483.648",
    "9".repeat(400),
  ])("refuses %j", (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });
});

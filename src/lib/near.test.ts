import { describe, expect, test } from "bun:test";

import { didYouMean, nearName } from "./near.ts";

const members = ["open", "pread", "pwrite", "getSize", "canFlush", "canFastZero", "zero", "cache"];

describe("nearName", () => {
  test.each([
    ["pRead", "pread"],
    ["get_size", "getSize"],
    ["GETSIZE", "getSize"],
    ["getsiez", "getSize"],
    ["canFlsh", "canFlush"],
    ["can_fast_zeros", "canFastZero"],
    ["read", "pread"],
    ["opne", "open"],
    ["zeroe", "zero"],
  ])("answers %s with %s", (name, meant) => {
    expect(nearName(name, members)).toBe(meant);
  });

  test.each(["", "x", "helper", "table", "reader", "hero2", "size", "canWrite2much"])(
    "finds no name near %j",
    (name) => {
      expect(nearName(name, members)).toBeUndefined();
    },
  );

  test("returns the nearest name, or the first of several", () => {
    expect(nearName("error-rat", ["error-cat", "error-rate", "error-rate2"])).toBe("error-cat");
    expect(nearName("filters", ["file", "filter"])).toBe("filter");
  });
});

test("didYouMean is the end of a message, or empty", () => {
  expect(didYouMean("fil", ["file"], (name) => `--${name}`)).toBe(": did you mean --file?");
  expect(didYouMean("nothing", ["file"])).toBe("");
});

import { describe, expect, test } from "bun:test";

import { didYouMean, nearName } from "./near.ts";

const members = ["open", "pread", "pwrite", "getSize", "canFlush", "canFastZero", "zero", "cache"];

describe("a near name", () => {
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
  ])("%s is %s", (name, meant) => {
    expect(nearName(name, members)).toBe(meant);
  });

  test.each(["", "x", "helper", "table", "reader", "hero2", "size", "canWrite2much"])(
    "%s is none",
    (name) => {
      expect(nearName(name, members)).toBeUndefined();
    },
  );

  test("is the nearest one, or the first of several", () => {
    expect(nearName("error-rat", ["error-cat", "error-rate", "error-rate2"])).toBe("error-cat");
    expect(nearName("filters", ["file", "filter"])).toBe("filter");
  });

  test("makes the end of a message", () => {
    expect(didYouMean("fil", ["file"], (name) => `--${name}`)).toBe(": did you mean --file?");
    expect(didYouMean("nothing", ["file"])).toBe("");
  });
});

import { describe as group, expect, test } from "bun:test";

import { describe, inside } from "./table.ts";

group("describe", () => {
  test.each([
    [[], "none"],
    [[3], "3"],
    [[1, 2, 3], "1-3"],
    [[1, 3, 4, 7], "1, 3-4, 7"],
  ] as const)("lists %p as %s", (numbers, text) => {
    expect(describe([...numbers])).toBe(text);
  });

  test("stops after 16 ranges", () => {
    const text = describe(Array.from({ length: 1000 }, (_, index) => 1 + 2 * index));
    expect(text).toEndWith("29, 31, …");
  });
});

group("inside", () => {
  test.each([
    [0n, 100n, true],
    [99n, 1n, true],
    [0n, 101n, false],
    [99n, 2n, false],
    [100n, 1n, false],
    [50n, 0n, false],
    [50n, -1n, false],
  ])("accepts the offset %p with %p bytes of 100: %p", (offset, range, good) => {
    const check = () => inside("GPT", { number: 1, offset, range }, 100n);
    if (good) expect(check()).toEqual({ number: 1, offset, range });
    else expect(check).toThrow("partition is outside the disk: GPT partition 1");
  });
});

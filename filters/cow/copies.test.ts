import { describe, expect, test } from "bun:test";

import { fives } from "./below-fixture.ts";
import { Copies } from "./copies.ts";
import { Overlay } from "./overlay.ts";

const blockSize = 4096;
const below = fives(65536n);

function copies(savesReads = false): Copies {
  return new Copies(Overlay.create(), { blockSize, savesReads: () => savesReads });
}

function byteOf(all: Copies, name: string, at: bigint): number | undefined {
  const buf = new Uint8Array(1);
  expect(all.enter(name).read(below, buf, at)).toBeUndefined();
  all.leave(name);
  return buf[0];
}

describe("Copies", () => {
  test("keeps the writes to many exports apart in one overlay", () => {
    using all = copies();
    const names = Array.from({ length: 50 }, (_, number) => `export${number}`);
    for (const [number, name] of names.entries()) {
      expect(all.enter(name).write(below, new Uint8Array(9).fill(100 + number), 20n)).toBe(
        undefined,
      );
      all.leave(name);
    }
    expect(names.map((name) => byteOf(all, name, 28n))).toEqual(names.map((_, at) => 100 + at));
    expect(names.map((name) => byteOf(all, name, 29n))).toEqual(names.map(() => 5));
  });

  test("forgets a name without changes when its last client disconnects", () => {
    using all = copies();
    const first = all.enter("a");
    expect(all.enter("a")).toBe(first);
    all.leave("a");
    expect(all.count).toBe(1);
    expect(all.enter("a")).toBe(first);
    all.leave("a");
    all.leave("a");
    expect(all.count).toBe(0);
  });

  test.each(["write", "discard", "read"] as const)("keeps a name after a %s", (method) => {
    using all = copies(true);
    const copy = all.enter("a");
    if (method === "discard") expect(copy.discard(below, blockSize, 0n)).toBeUndefined();
    else expect(copy[method](below, new Uint8Array(blockSize), 0n)).toBeUndefined();
    all.leave("a");
    expect([all.count, all.enter("a") === copy]).toEqual([1, true]);
  });
});

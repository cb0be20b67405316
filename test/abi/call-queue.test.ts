/** What calls of C layers do when there are more of them than there are places in the memory that C reads them from. */
import { describe, expect, test } from "bun:test";

import { RT_MAX_CALLS } from "#abi/generated/ops.gen";
import { compileModule, haveCompiler } from "#test/modules";
import { nativeLayer, nativeStack } from "#test/native";

describe.skipIf(!haveCompiler)("more calls than there are places (needs cc)", () => {
  const xor = async () => nativeLayer("filter", await compileModule("examples/xor/xor.c"));
  const size = 512;

  test("are answered for all clients, also for one that found no place at all", async () => {
    await using stack = await nativeStack([await xor()], { "xor-key": "90" });
    const many = (await stack.connect()).top;
    const one = (await stack.connect()).top;
    const read = (top: typeof one, at: number) => {
      const buf = new Uint8Array(size);
      return Promise.resolve(top.pread(buf, BigInt(at), 0)).then(() => buf);
    };
    const wanted = (at: number) => stack.disk.slice(at, at + size).map((byte) => byte ^ 90);
    const places = Array.from({ length: RT_MAX_CALLS + 100 }, (_, i) => (i * 7) % 60000);
    // One turn of the event loop: nothing returns before all of them were made.
    const first = places.map((at) => read(many, at));
    const last = [1, 2, 3].map((at) => read(one, at));
    const found = await Promise.all(first);
    expect(found.findIndex((buf, i) => !Buffer.from(buf).equals(wanted(places[i] ?? 0)))).toBe(-1);
    expect(await Promise.all(last)).toEqual([1, 2, 3].map(wanted));
  });
});

/** More calls of C layers at once than the shared memory for calls has room for. */
import { describe, expect, test } from "bun:test";

import { RT_MAX_CALLS } from "#abi/generated/ops.gen";
import { compileModule, haveCompiler } from "#test/modules";
import { nativeLayer, nativeStack } from "#test/native";

describe.skipIf(!haveCompiler)("more calls than RT_MAX_CALLS (needs cc)", () => {
  const xor = async () => nativeLayer("filter", await compileModule("examples/xor/xor.c"));
  const size = 512;

  test("are answered for all clients, even for one whose calls all had to wait", async () => {
    await using stack = await nativeStack([await xor()], { "xor-key": "90" });
    const many = (await stack.connect()).top;
    const one = (await stack.connect()).top;
    const read = (top: typeof one, at: number) => {
      const buf = new Uint8Array(size);
      return Promise.resolve(top.pread(buf, BigInt(at), 0)).then(() => buf);
    };
    const wanted = (at: number) => stack.disk.slice(at, at + size).map((byte) => byte ^ 90);
    const offsets = Array.from({ length: RT_MAX_CALLS + 100 }, (_, i) => (i * 7) % 60000);
    // All in one turn of the event loop, so no call returns before the last one is made.
    const first = offsets.map((at) => read(many, at));
    const last = [1, 2, 3].map((at) => read(one, at));
    const found = await Promise.all(first);
    expect(found.findIndex((buf, i) => !Buffer.from(buf).equals(wanted(offsets[i] ?? 0)))).toBe(-1);
    expect(await Promise.all(last)).toEqual([1, 2, 3].map(wanted));
  });
});

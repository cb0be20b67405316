/** A read that fills nothing shows zeroes, and not what the memory held before. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { installed, serve } from "#test/server";

const script = join(import.meta.dir, "unfilled-fixture.ts");
const half = 1n << 19n;

/** Read what fills the memory, then what leaves it as it is, of all sizes, one after the other and many at once. */
async function checkReads(words: readonly string[], structured: boolean): Promise<void> {
  await using server = await serve(words);
  const target = { unix: server.socket };
  const ready = structured ? await NbdClient.structured(target) : await NbdClient.ready(target);
  await using client = ready.client;
  const read = async (offset: bigint, count: number): Promise<Uint8Array> => {
    if (!structured) return (await client.ask({ type: 0, offset, count })).data;
    // In front of the data stands its offset.
    return (await client.askChunk({ type: 0, offset, count })).data.subarray(8);
  };
  for (const count of [1, 512, 4096, 65536, 300_000]) {
    for (let round = 0; round < 8; round++) {
      const full = await read(0n, count);
      expect(full.every((byte) => byte === 0xaa)).toBe(true);
      const empty = await read(half, count);
      expect(empty.every((byte) => byte === 0)).toBe(true);
    }
  }
}

describe.each([false, true])("reads with structured=%p", (structured) => {
  test.each(["false", "true"])("a plugin in TypeScript, later=%s", (later) =>
    checkReads([script, `later=${later}`], structured),
  );
  test("below filters that fill their reads", () =>
    checkReads(["--filter=cow", "--filter=offset", script, "offset=0"], structured));
  test.skipIf(!installed("nbdkit"))(
    "below a C filter with a buffer of its own (needs nbdkit)",
    () => checkReads(["--filter=native:blocksize", script, "minblock=4096"], structured),
  );
  test.skipIf(!haveCompiler)("a plugin in C (needs cc)", async () => {
    await checkReads([await compileModule("test/fixtures/unfilled.c")], structured);
  });
  test.skipIf(!haveCompiler)("a plugin in C below a filter (needs cc)", async () => {
    const filter = await compileModule("examples/xor/xor.c");
    const plugin = await compileModule("test/fixtures/unfilled.c");
    await checkReads([`--filter=${filter}`, plugin, "xor-key=0"], structured);
  });
});

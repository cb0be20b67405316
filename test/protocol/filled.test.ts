/** A read that a layer does not fill returns zeroes, not earlier contents of the memory. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { installed, serve } from "#test/server";

const script = join(import.meta.dir, "unfilled-fixture.ts");
const half = 1n << 19n;

/** Read the half that fills the memory, then the half that does not, in many sizes. */
async function checkReads(words: readonly string[], structured: boolean): Promise<void> {
  await using server = await serve(words);
  const target = { unix: server.socket };
  const ready = structured ? await NbdClient.structured(target) : await NbdClient.ready(target);
  await using client = ready.client;
  const read = async (offset: bigint, count: number): Promise<Uint8Array> => {
    if (!structured) return (await client.ask({ type: 0, offset, count })).data;
    // The chunk's offset comes before its data.
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
  test("a plugin below filters that fill their reads", () =>
    checkReads(["--filter=cow", "--filter=offset", script, "offset=0"], structured));
  test.skipIf(!installed("nbdkit"))(
    "a plugin below a C filter with its own buffer (needs nbdkit)",
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

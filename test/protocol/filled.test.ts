/** A read that a layer does not fill returns zeroes, not earlier contents of the memory. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { randomFrom } from "#test/random";
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

type Reads = ReadonlyMap<bigint, { readonly count: number }>;

/** The next reply to one of the reads. */
async function nextAnswer(client: NbdClient, structured: boolean, reads: Reads) {
  if (!structured) {
    const { cookie, error } = await client.reply();
    const count = error === 0 ? (reads.get(cookie)?.count ?? 0) : 0;
    return { cookie, error, data: await client.take(count) };
  }
  const { cookie, data, type } = await client.chunk();
  // An error chunk begins with the error, and a data chunk with the offset.
  if (type === 1) return { cookie, error: 0, data: data.subarray(8) };
  return { cookie, error: Buffer.from(data).readUInt32BE(0), data: data.subarray(0, 0) };
}

/** Reads of all sizes at once, from both halves and from the end, where they fail. */
async function checkManyReads(plugin: string, structured: boolean): Promise<void> {
  await using server = await serve([plugin]);
  const target = { unix: server.socket };
  const ready = structured ? await NbdClient.structured(target) : await NbdClient.ready(target);
  await using client = ready.client;
  const draw = randomFrom(7);
  const random = (limit: number) => Math.floor(draw() * limit);
  const sizes = [1, 500, 512, 4000, 4096, 5000, 16384, 32768, 65536];
  for (let round = 0; round < 40; round++) {
    const counts = new Map<bigint, { readonly count: number; readonly where: number }>();
    for (let i = 0; i < 32; i++) {
      const where = random(5);
      const count = where === 4 ? 512 : (sizes[random(sizes.length)] ?? 1);
      const offset = [0n, half, 0n, half, 2n * half - 512n][where] ?? 0n;
      const cookie = BigInt(round * 32 + i);
      counts.set(cookie, { count, where });
      client.request({ type: 0, offset, count, cookie });
    }
    for (let i = 0; i < 32; i++) {
      const { cookie, data, error } = await nextAnswer(client, structured, counts);
      const { count = 0, where = 0 } = counts.get(cookie) ?? {};
      const byte = where % 2 === 0 ? 0xaa : 0;
      const expected = where === 4 ? { error: 5, bytes: 0 } : { error: 0, bytes: count };
      expect({ error, bytes: data.filter((it) => it === byte).length }).toEqual(expected);
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
  test.skipIf(!haveCompiler)("many reads at once of a plugin in C (needs cc)", async () => {
    await checkManyReads(await compileModule("test/fixtures/unfilled.c"), structured);
  });
  test.skipIf(!haveCompiler)("a plugin in C below a filter (needs cc)", async () => {
    const filter = await compileModule("examples/xor/xor.c");
    const plugin = await compileModule("test/fixtures/unfilled.c");
    await checkReads([`--filter=${filter}`, plugin, "xor-key=0"], structured);
  });
});

/** The buffers that C modules get are aligned as malloc(3) aligns memory. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";

import { bytes, NbdClient, request } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { serve } from "#test/server";

const [READ, WRITE] = [0, 1] as const;
const unaligned = join(import.meta.dir, "unaligned-fixture.ts");

const modules = [
  { what: "plain", flags: [] },
  // Loops become vector instructions, of the widest kind that this machine has.
  { what: "vectorised", flags: ["-O3", "-march=native"] },
];

const compiled = (kind: "filter" | "plugin", flags: readonly string[]) =>
  compileModule("test/fixtures/aligned.c", {
    flags,
    name: kind,
    defines: kind === "plugin" ? { PLUGIN: true } : {},
  });

const pattern = (count: number, seed: number) =>
  Uint8Array.from({ length: count }, (_, i) => (i * 7 + seed) & 255);

const counts = [1, 15, 512, 4096, 4097, 32_768, 65_536, 100_000, 300_000];

/** Writes and reads back every size. The small writes are sent in one chunk, so their data arrives at any address. */
async function checkClient(client: NbdClient, structured: boolean, reads = true): Promise<void> {
  const read = async (offset: bigint, count: number): Promise<Uint8Array> => {
    if (!structured) return (await client.ask({ type: READ, offset, count })).data;
    const { data, type } = await client.askChunk({ type: READ, offset, count });
    expect(type).toBe(1);
    return data.subarray(8);
  };
  for (const count of counts) {
    const payload = pattern(count, count);
    expect((await client.ask({ type: WRITE, offset: 16n, payload })).error).toBe(0);
    if (reads) expect(Buffer.compare(await read(16n, count), payload)).toBe(0);
  }
  const small = Array.from({ length: 64 }, (_, i) => pattern(1 + ((i * 5) % 40), i));
  const at = (i: number) => BigInt(4096 * i);
  client.send(
    bytes(
      ...small.map((payload, i) =>
        request({ type: WRITE, cookie: BigInt(i), offset: at(i), payload }),
      ),
    ),
  );
  for (const _ of small) expect((await client.reply()).error).toBe(0);
  for (const [i, payload] of small.entries()) {
    const found = await read(at(i), payload.length);
    if (reads) expect(found).toEqual(payload);
  }
}

async function check(words: readonly string[], reads = true): Promise<void> {
  await using server = await serve(words);
  for (const structured of [false, true]) {
    const target = { unix: server.socket };
    const ready = structured
      ? await NbdClient.structured(target, "it")
      : await NbdClient.ready(target, "it");
    await using client = ready.client;
    await checkClient(client, structured, reads);
    if (structured) expect(await client.blockStatus(0n, 4096)).not.toEqual([]);
  }
  expect(server.stderr()).toBe("");
}

describe.skipIf(!haveCompiler).each(modules)("$what C modules (needs cc)", ({ flags }) => {
  test("a plugin gets aligned buffers", async () => {
    const plugin = await compileModule("test/fixtures/aligned.c", {
      flags,
      name: "plugin",
      defines: { PLUGIN: true, DIRECTLY: true },
    });
    await check([plugin, "a=b", "lengthy-key=x"]);
  });
  test("a filter above a plugin gets them", async () => {
    const words = [`--filter=${await compiled("filter", flags)}`, await compiled("plugin", flags)];
    await check([...words, "a=b"]);
  });
  test("a filter above a TypeScript plugin gets them", async () =>
    check([`--filter=${await compiled("filter", flags)}`, "memory", "1M"]));
  test("a plugin gets them below a TypeScript filter that passes unaligned buffers", async () =>
    check([`--filter=${unaligned}`, await compiled("plugin", flags)]));
  test("a plugin gets them below a TypeScript filter that answers most reads itself", async () =>
    check([`--filter=${unaligned}`, await compiled("plugin", flags), "own=true"], false));
  test("a filter and a plugin get them with a TypeScript filter between them", async () => {
    const filter = `--filter=${await compiled("filter", flags)}`;
    await check([filter, `--filter=${unaligned}`, await compiled("plugin", flags)]);
  });
});

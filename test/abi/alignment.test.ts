/** Whatever C modules are given lies as malloc(3) would have it. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";

import { bytes, NbdClient, request } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { serve } from "#test/server";

const [READ, WRITE] = [0, 1] as const;
const odd = join(import.meta.dir, "odd-fixture.ts");

const modules = [
  { what: "plain", flags: [] },
  // Loops become vectors there, of the widest kind that this machine has.
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

/** Write, and read back, in all sizes; small writes come many in one piece, where their data lies as it happens to. */
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
  const place = (i: number) => BigInt(4096 * i);
  client.send(
    bytes(
      ...small.map((payload, i) =>
        request({ type: WRITE, cookie: BigInt(i), offset: place(i), payload }),
      ),
    ),
  );
  for (const _ of small) expect((await client.reply()).error).toBe(0);
  for (const [i, payload] of small.entries()) {
    const found = await read(place(i), payload.length);
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

describe.skipIf(!haveCompiler).each(modules)("$what modules (needs cc)", ({ flags }) => {
  test("a plugin", async () => {
    const plugin = await compileModule("test/fixtures/aligned.c", {
      flags,
      name: "plugin",
      defines: { PLUGIN: true, DIRECTLY: true },
    });
    await check([plugin, "a=b", "lengthy-key=x"]);
  });
  test("a filter over a plugin", async () => {
    const words = [`--filter=${await compiled("filter", flags)}`, await compiled("plugin", flags)];
    await check([...words, "a=b"]);
  });
  test("a filter over TypeScript", async () =>
    check([`--filter=${await compiled("filter", flags)}`, "memory", "1M"]));
  test("below a filter in TypeScript whose buffers are not aligned", async () =>
    check([`--filter=${odd}`, await compiled("plugin", flags)]));
  test("below a filter in TypeScript that answers most reads at once", async () =>
    check([`--filter=${odd}`, await compiled("plugin", flags), "own=true"], false));
  test("a filter below one in TypeScript below a filter", async () => {
    const filter = `--filter=${await compiled("filter", flags)}`;
    await check([filter, `--filter=${odd}`, await compiled("plugin", flags)]);
  });
});

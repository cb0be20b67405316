/** A server with two exports keeps them apart in every kind of chain. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { infoPayload, NbdClient } from "#test/client";
import { installed, serve } from "#test/server";

const folder = mkdtempSync(join(tmpdir(), "exports-e2e-"));
afterAll(() => rmSync(folder, { recursive: true }));
const sizes = { one: 65536, two: 131072 };
for (const [name, size] of Object.entries(sizes))
  writeFileSync(join(folder, name), new Uint8Array(size).fill(name.charCodeAt(0)));

const chains: readonly (readonly string[])[] = [
  ["file"],
  ["--filter=cow", "file"],
  ["--filter=cow", "--filter=delay", "--filter=cow", "file"],
  ["--filter=nofilter", "file"],
  ["--filter=cow", "--filter=nofilter", "native:file"],
  ["--filter=nofilter", "--filter=cow", "--filter=nofilter", "native:file"],
];

/** The size of an export in INFO. */
async function sizeOf(client: NbdClient, name: string): Promise<bigint | undefined> {
  const replies = await client.option(6, infoPayload(name));
  const info = replies.find(({ type, data }) => type === 3 && data[1] === 0);
  return info && new DataView(info.data.buffer).getBigUint64(2);
}

async function byteAt(client: NbdClient, offset: bigint): Promise<number | undefined> {
  return (await client.ask({ type: 0, offset, count: 1 })).data[0];
}

describe("two exports", () => {
  for (const args of chains) {
    const words = args.join(" ");
    test.skipIf(words.includes("nofilter") && !installed("nbdkit"))(
      `of ${words} are kept apart`,
      async () => {
        await using server = await serve([...args, `dir=${folder}`]);
        const at = { unix: server.socket };
        await using asking = await NbdClient.connect(at);
        await asking.hello();
        const found: unknown[] = [];
        for (const name of ["one", "two", "one", "none", "two"])
          found.push(await sizeOf(asking, name));
        expect(found).toEqual([65536n, 131072n, 65536n, undefined, 131072n]);
        expect(await asking.go("two")).toMatchObject({ size: 131072n });
        await using one = (await NbdClient.ready(at, "one")).client;
        await using again = (await NbdClient.ready(at, "one")).client;
        const original = [byteAt(one, 7n), byteAt(asking, 7n)];
        expect(await Promise.all(original)).toEqual([0x6f, 0x74]);
        const written = await one.ask({ type: 1, offset: 5n, payload: new Uint8Array(10).fill(1) });
        expect(written.error).toBe(0);
        const after = [byteAt(one, 7n), byteAt(again, 7n), byteAt(asking, 7n)];
        expect(await Promise.all(after)).toEqual([1, 1, 0x74]);
        // Restore the bytes for the next chain, since some chains write to the file.
        await one.ask({ type: 1, offset: 5n, payload: new Uint8Array(10).fill(0x6f) });
        // Beyond the end of the first export, and within the second.
        expect((await one.ask({ type: 0, offset: 65536n, count: 1 })).error).toBe(22);
        expect(await byteAt(asking, 65536n)).toBe(0x74);
      },
      60_000,
    );
  }
});

/** The data of writes on its way to the layers, whatever pieces it arrives in, and however long layers use it. */
import { describe, expect, test } from "bun:test";

import { request } from "#test/client";

import { pattern, running, until } from "./server-fixture.ts";

const WRITE = 1;
const MiB = 1 << 20;

interface Piece {
  readonly offset: number;
  readonly payload: Uint8Array;
}

/** Writes of these sizes in a row, each with different bytes. */
function writesOf(sizes: readonly number[]): readonly Piece[] {
  let offset = 0;
  return sizes.map((size, i) => {
    const payload = pattern(size).map((byte) => byte ^ (i * 37 + 1));
    const piece = { offset, payload };
    offset += size;
    return piece;
  });
}

function requestsOf(writes: readonly Piece[]): Buffer {
  return Buffer.concat(
    writes.map(({ offset, payload }, i) =>
      request({ type: WRITE, offset: BigInt(offset), payload, cookie: BigInt(i) }),
    ),
  );
}

const sizes = [
  1,
  100,
  4096,
  16383,
  16384,
  70_000,
  262_144,
  4096,
  4096,
  300_000,
  1,
  MiB + 5,
  2 * MiB,
];

describe.each([{ later: false }, { later: true }])("writes, answered later=$later", ({ later }) => {
  test.each([1 << 16, 65_535, 28, 9999, 200_001])(
    "arrive intact in pieces of %i bytes",
    async (pieceBytes) => {
      await using it = await running({ size: 4 * MiB, later });
      const { client } = await it.ready();
      // All the data would take too long in the smallest pieces.
      const writes = writesOf(pieceBytes < 100 ? sizes.slice(0, 5) : sizes);
      const all = requestsOf(writes);
      for (let at = 0; at < all.length; at += pieceBytes) {
        client.send(all.subarray(at, at + pieceBytes));
        await client.sent();
      }
      for (const _ of writes) expect((await client.reply()).error).toBe(0);
      for (const { offset, payload } of writes) {
        expect(Buffer.compare(it.disk.subarray(offset, offset + payload.length), payload)).toBe(0);
      }
    },
  );
});

test("keep their data until the layers answer, whatever arrives meanwhile", async () => {
  const held = Promise.withResolvers<void>();
  const kept: { readonly offset: number; readonly buf: Uint8Array }[] = [];
  const pwrite = (_: unknown, buf: Uint8Array, offset: bigint): Promise<void> => {
    kept.push({ offset: Number(offset), buf });
    return held.promise;
  };
  await using it = await running({ size: 32 * MiB, plugin: { pwrite } });
  const { client } = await it.ready();
  // Many writes per received chunk, then enough of them that each chunk's memory is reused.
  const small = Array.from({ length: 100 }, () => 4096);
  const large = Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? 262_144 : 5000));
  const writes = writesOf([...small, ...large]);
  client.send(requestsOf(writes));
  await until(() => kept.length === writes.length);
  const wrong = kept.filter(({ offset, buf }) => {
    const write = writes.find((one) => one.offset === offset);
    return write === undefined || Buffer.compare(buf, write.payload) !== 0;
  });
  expect(wrong.length).toBe(0);
  held.resolve();
  for (const _ of writes) expect((await client.reply()).error).toBe(0);
});

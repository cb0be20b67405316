/** A file that becomes shorter while it is served: reads beyond its end fail, and never return zeroes. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { chunkError, NbdClient } from "#test/client";
import { serve } from "#test/server";

const [READ, DF] = [0, 4] as const;
const [EIO, HOLE] = [5, 3] as const;
const KiB = 1 << 10;
const MiB = 1 << 20;

let folder: string;
let image: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-test-"));
  image = join(folder, "disk");
});
/** 4 MiB of data, then a hole. */
beforeEach(() => {
  writeFileSync(image, new Uint8Array(4 * MiB).fill(0x55));
  truncateSync(image, 16 * MiB);
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const chains = [
  { words: ["file"], start: 0 },
  { words: ["--filter=cow", "file"], start: 0 },
  { words: ["--filter=offset", "file"], start: MiB },
  { words: ["--filter=cow", "--filter=offset", "file"], start: MiB },
];

describe.each(chains)("$words", ({ words, start }) => {
  const parameters = words.includes("--filter=offset") ? [`offset=${start}`] : [];
  const served = () => serve([...words, image, ...parameters]);
  const place = (at: number) => BigInt(at - start);

  test.each([4 * KiB, 64 * KiB, 300_000, MiB, 3 * MiB])(
    "reads of %i bytes beyond the end fail",
    async (count) => {
      await using server = await served();
      const { client } = await NbdClient.structured({ unix: server.socket });
      await using connection = client;
      /** Take all chunks of a read, and return its error, or 0. */
      const errorOf = async (at: number, flags: number) => {
        connection.request({ type: READ, offset: place(at), count, flags });
        for (let error = 0; ;) {
          const chunk = await connection.chunk();
          if (chunk.type >= 0x8000) error = chunkError(chunk).error;
          if (chunk.flags & 1) return error;
        }
      };
      // First the file ends within the hole.
      truncateSync(image, 8 * MiB);
      for (const flags of [0, DF]) {
        expect(await errorOf(2 * MiB, flags)).toBe(0);
        expect(await errorOf(8 * MiB - 1, flags)).toBe(EIO);
        expect(await errorOf(8 * MiB, flags)).toBe(EIO);
        expect(await errorOf(10 * MiB, flags)).toBe(EIO);
      }
      // Then the file ends within the data.
      truncateSync(image, 2 * MiB);
      for (const flags of [0, DF]) {
        expect(await errorOf(2 * MiB - 4096, flags)).toBe(count === 4096 ? 0 : EIO);
        expect(await errorOf(3 * MiB, flags)).toBe(EIO);
        expect(await errorOf(10 * MiB, flags)).toBe(EIO);
      }
      truncateSync(image, 16 * MiB);
      expect(await errorOf(3 * MiB, 0)).toBe(0);
      expect(await errorOf(10 * MiB, 0)).toBe(0);
    },
  );

  test("block status reports no hole beyond the end of the file", async () => {
    await using server = await served();
    const { client } = await NbdClient.structured({ unix: server.socket });
    await using connection = client;
    const typeAt = async (at: number) => {
      const [first] = await connection.blockStatus(place(at), 64 * KiB);
      return first?.[1];
    };
    expect(await typeAt(10 * MiB)).toBe(HOLE);
    truncateSync(image, 8 * MiB);
    expect(await typeAt(6 * MiB)).toBe(HOLE);
    expect(await typeAt(8 * MiB)).toBe(0);
    expect(await typeAt(10 * MiB)).toBe(0);
    truncateSync(image, 0);
    expect(await typeAt(2 * MiB)).toBe(0);
    expect(await typeAt(10 * MiB)).toBe(0);
  });
});

/** A disk with holes, and reads that show which holes the replies report. */
import { expect } from "bun:test";

import type { NextOps } from "#api/generated/methods.gen";
import { type Chunk, type NbdClient } from "#test/client";

import type { Extents } from "../../src/lib/extents.ts";
import { pattern, type Running } from "./server-fixture.ts";

export const READ = 0;
export const [DATA, HOLE_CHUNK] = [1, 2] as const;
export const [hole, zero] = [1, 2] as const;
export const KiB = 1024;
/** The size of the disk in bytes. */
export const size = 1 << 20;

/** [first byte, type] of each extent. The last one ends with the disk. */
export type Layout = readonly (readonly [number, number])[];

/** A disk of 1 MiB with zeroes as its layout says. */
export function sparse(layout: Layout, later = false) {
  const disk = pattern(size);
  const extents = layout.map(([start, type], i) => ({
    start,
    end: layout[i + 1]?.[0] ?? size,
    type,
  }));
  for (const { start, end, type } of extents) if (type & zero) disk.fill(0, start, end);
  const calls: string[] = [];
  const answer = <T>(value: T): T | Promise<T> => (later ? Promise.resolve(value) : value);
  const plugin = {
    extentsAnswerReads: true,
    getSize: () => BigInt(size),
    pread: (_handle: unknown, buf: Uint8Array, offset: bigint) => {
      calls.push(`pread ${buf.length / KiB} ${Number(offset) / KiB}`);
      buf.set(disk.subarray(Number(offset), Number(offset) + buf.length));
      return answer(undefined);
    },
    extents: (_handle: unknown, count: number, offset: bigint, _flags: number, list: Extents) => {
      calls.push(`extents ${count / KiB} ${Number(offset) / KiB}`);
      for (const { start, end, type } of extents) {
        list.add(BigInt(start), BigInt(end - start), type);
      }
      return answer(undefined);
    },
  };
  return { disk, calls, plugin };
}

/** A filter's methods that pass reads and extents on. */
export const passing = {
  pread: (next: NextOps, _handle: unknown, buf: Uint8Array, offset: bigint, flags: number) =>
    next.pread(buf, offset, flags),
  extents: (
    next: NextOps,
    _handle: unknown,
    count: number,
    offset: bigint,
    flags: number,
    list: Extents,
  ) => next.extents(count, offset, flags, list),
};

/** All chunks of one reply. */
export async function chunksOf(nbd: NbdClient): Promise<Chunk[]> {
  for (const chunks: Chunk[] = []; ;) {
    const chunk = await nbd.chunk();
    chunks.push(chunk);
    if (chunk.flags & 1) return chunks;
  }
}

export interface Answer {
  /** [offset, length] of data, [offset, -length] of zeroes, in KiB. */
  readonly shape: readonly (readonly [number, number])[];
  readonly data: Uint8Array;
}

/** Combine the chunks of a read. Bytes that no chunk covers stay 1. */
export function assembled(chunks: readonly Chunk[], offset: number, count: number): Answer {
  const data = new Uint8Array(count).fill(1);
  const shape = chunks.map(({ type, data: payload }): readonly [number, number] => {
    const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
    const at = Number(view.getBigUint64(0));
    if (type === HOLE_CHUNK) {
      const length = view.getUint32(8);
      data.fill(0, at - offset, at - offset + length);
      return [at / KiB, -length / KiB];
    }
    expect(type).toBe(DATA);
    data.set(payload.subarray(8), at - offset);
    return [at / KiB, (payload.length - 8) / KiB];
  });
  return { shape, data };
}

export async function read(
  nbd: NbdClient,
  offset: number,
  count: number,
  flags = 0,
): Promise<Answer> {
  nbd.request({ type: READ, flags, offset: BigInt(offset), count });
  return assembled(await chunksOf(nbd), offset, count);
}

export async function connected(it: Running): Promise<NbdClient> {
  return (await it.structured()).client;
}

/** A plugin that may answer later, with a hole, a bad sector, and an export that cannot be opened. */
import { definePlugin, EXTENT_HOLE, EXTENT_ZERO, NbdError, type ThreadModel } from "#api";

import type { Exports } from "../../src/lib/exports.ts";
import type { Extents } from "../../src/lib/extents.ts";

/** When the plugin answers: by default at once. */
export type Answers = "later" | "either" | undefined;

export const diskBytes = 256 << 10;
/** The plugin reports these zeroes as a hole. */
const holeFrom = 64 << 10;
const holeUntil = 160 << 10;
/** Reads and writes of this range fail. */
const badFrom = 200 << 10;
const badUntil = badFrom + 512;

const original = Uint8Array.from({ length: diskBytes }, (_, i) =>
  i >= holeFrom && i < holeUntil ? 0 : (i * 7 + (i >> 9)) % 251,
);

export class FlakyDisk {
  readonly disk = original.slice();
  /** The number of open handles. */
  open = 0;
  /** A client has written, so the hole may have data. */
  written = false;
  readonly #answers: Answers;
  #turn = 0;

  constructor(answers: Answers) {
    this.#answers = answers;
  }

  /** Restore the disk. */
  reset(): void {
    if (this.written) this.disk.set(original);
    this.written = false;
  }

  /** Answer at once, a little later, or a turn of the event loop later. */
  answer(go: () => void): void | Promise<void> {
    const turn = this.#turn++;
    if (this.#answers === undefined || (this.#answers === "either" && turn % 3 > 0)) return go();
    if (this.#answers === "later" || turn % 2 > 0) return Promise.resolve().then(go);
    return new Promise<void>((resolve) => {
      setImmediate(resolve);
    }).then(go);
  }

  part(count: number, offset: bigint): Uint8Array {
    const at = Number(offset);
    if (at < badUntil && at + count > badFrom) {
      throw new NbdError("EIO", `bytes ${badFrom} to ${badUntil} are bad`);
    }
    return this.disk.subarray(at, at + count);
  }

  writable(count: number, offset: bigint): Uint8Array {
    this.written = true;
    return this.part(count, offset);
  }

  addExtents(offset: bigint, list: Extents): void {
    list.add(0n, BigInt(holeFrom), 0);
    const type = this.written ? 0 : EXTENT_HOLE | EXTENT_ZERO;
    list.add(BigInt(holeFrom), BigInt(holeUntil - holeFrom), type);
    list.add(BigInt(holeUntil), BigInt(diskBytes - holeUntil), 0);
    if (offset === 512n) throw new NbdError("EIO", "extents of this sector are not known");
  }
}

/** Exports named "no" cannot be opened. */
export function flakyPlugin(it: FlakyDisk, model?: ThreadModel) {
  return definePlugin({
    name: "flaky",
    ...(model === undefined ? {} : { threadModel: () => model }),
    listExports: (_config: unknown, _readonly: boolean, _isTls: boolean, exports: Exports) => {
      exports.add("main", "the disk");
      exports.add("no", "not there");
    },
    defaultExport: () => "main",
    open: (_config: unknown, _readonly: boolean, exportName: string) => {
      if (exportName === "no") throw new NbdError("ENOENT", "no such export");
      it.open++;
      return {};
    },
    close: () => void it.open--,
    getSize: () => BigInt(diskBytes),
    exportDescription: () => "a disk",
    blockSize: () => ({ minimum: 1, preferred: 4096, maximum: 0xffffffff }),
    canMultiConn: () => true,
    canFua: () => "native" as const,
    canCache: () => "native" as const,
    canFastZero: () => true,
    pread: (_h: unknown, buf: Uint8Array, offset: bigint) =>
      it.answer(() => buf.set(it.part(buf.length, offset))),
    pwrite: (_h: unknown, buf: Uint8Array, offset: bigint) =>
      it.answer(() => it.writable(buf.length, offset).set(buf)),
    flush: () => it.answer(() => {}),
    trim: (_h: unknown, count: number, offset: bigint) =>
      it.answer(() => it.writable(count, offset).fill(0)),
    zero: (_h: unknown, count: number, offset: bigint) =>
      it.answer(() => it.writable(count, offset).fill(0)),
    cache: (_h: unknown, count: number, offset: bigint) =>
      it.answer(() => void it.part(count, offset)),
    extents: (_h: unknown, _count: number, offset: bigint, _flags: number, list: Extents) =>
      it.answer(() => it.addExtents(offset, list)),
  });
}

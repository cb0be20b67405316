/** One read that is answered by several chunks: data, and zeroes that are not sent. */
import type { Awaitable, NextOps } from "../api/generated/methods.gen.ts";
import { CHUNK_HEADER_BYTES } from "./constants.ts";
import type { Part } from "./holes.ts";
import type { Output, Place } from "./output.ts";
import { type Asked, dataChunkHeader, HOLE_CHUNK_BYTES, holeChunk } from "./replies.ts";

const dataHeaderBytes = CHUNK_HEADER_BYTES + 8;

export class SparseRead {
  /** Where the reply stands once it was begun. */
  place: Place | undefined;
  /** All its chunks with their headers. */
  length = 0;
  readonly #top: NextOps;
  readonly #asked: Asked;
  readonly #readsAreFilled: boolean;

  constructor(top: NextOps, { cookieHigh, cookieLow, offset }: Asked, readsAreFilled: boolean) {
    this.#top = top;
    this.#readsAreFilled = readsAreFilled;
    this.#asked = { cookieHigh, cookieLow, offset };
  }

  /** Write the chunks. Data is read in order, one piece after the other, as the thread model may demand. */
  fill(output: Output, parts: readonly Part[]): Awaitable<void> {
    let length = 0;
    for (const part of parts)
      length += part.zero ? HOLE_CHUNK_BYTES : dataHeaderBytes + part.length;
    this.length = length;
    this.place = output.place(0, length);
    return this.#from(this.place, parts, 0, this.place.start);
  }

  /** The chunks are complete. */
  tell(output: Output): void {
    if (this.place !== undefined) output.adopt(this.place, this.length);
  }

  /** The read has failed. */
  discard(output: Output): void {
    if (this.place !== undefined) output.release(this.place);
  }

  #from(place: Place, parts: readonly Part[], first: number, start: number): Awaitable<void> {
    const { bytes, view } = place.block;
    const { offset } = this.#asked;
    let at = start;
    for (let i = first; i < parts.length; i++) {
      const part = parts[i];
      if (part === undefined) return undefined;
      const where = { at, offset: offset + BigInt(part.at), length: part.length };
      const last = i === parts.length - 1;
      if (part.zero) {
        holeChunk(view, this.#asked, where, last);
        at += HOLE_CHUNK_BYTES;
        continue;
      }
      dataChunkHeader(view, this.#asked, where, last);
      const data = at + dataHeaderBytes;
      at = data + part.length;
      const buf = bytes.subarray(data, at);
      if (!this.#readsAreFilled) buf.fill(0);
      const result = this.#top.pread(buf, where.offset, 0);
      if (result !== undefined) return result.then(() => this.#from(place, parts, i + 1, at));
    }
    return undefined;
  }
}

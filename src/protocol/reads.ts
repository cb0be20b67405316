/**
 * Decides how each read is answered, and begins the answer. There are three ways: as holes, where
 * the layers know zeroes; from the plugin's file, which the kernel sends; from the layers. The
 * first two are for large reads that every layer leaves alone: the chain's `source` says so, and
 * what they can be answered from instead.
 */
import type { Awaitable, NextOps } from "../api/generated/methods.gen.ts";
import type { Source } from "../chain/layer.ts";
import { EXTENT_ZERO, Extents } from "../lib/extents.ts";
import { CHUNK_HEADER_BYTES, CMD_FLAG_DF, CMD_READ } from "./constants.ts";
import {
  holePatience,
  leastAsHolesBytes,
  leastFromFileBytes,
  longestHoleRest,
  mostFromFileBytes,
  smallestHoleBytes,
  trustedReads,
} from "./limits.ts";
import type { ChosenExport } from "./negotiation.ts";
import type { Output, Place } from "./output.ts";
import type { Held, Running } from "./pending.ts";
import {
  type Asked,
  dataChunkHeader,
  HOLE_CHUNK_BYTES,
  holeChunk,
  type Replies,
} from "./replies.ts";

const dataHeaderBytes = CHUNK_HEADER_BYTES + 8;

export interface ReadOptions {
  /** Set where the client takes holes and the layers know them: pieces keep to multiples of this. */
  readonly smallestPiece?: number | undefined;
}

/** A read that is answered once `result` resolves. Its reply is in `place`, or in `sparse`. */
interface Later extends Held {
  readonly result: Promise<void>;
}

/** A read was answered, or will be. */
type Answer = "sent" | Later;

export class Reads {
  readonly #top: NextOps;
  readonly #source: (() => Source | undefined) | undefined;
  readonly #output: Output;
  readonly #replies: Replies;
  readonly #holes: Holes | undefined;
  /** Reads in a row that the layers answered at once. */
  #atOnce = 0;

  constructor(
    { top, size, source }: ChosenExport,
    output: Output,
    replies: Replies,
    { smallestPiece }: ReadOptions,
  ) {
    this.#top = top;
    this.#source = source;
    this.#output = output;
    this.#replies = replies;
    if (smallestPiece !== undefined) this.#holes = new Holes(top, size, BigInt(smallestPiece));
  }

  /** Throws what the layers throw. */
  begin(read: Running): Answer {
    const source = read.count < leastFromFileBytes ? undefined : this.#sourceOf(read);
    if (source === undefined) return this.#fromLayers(read);
    return this.#asHoles(source, read) ?? this.#fromFile(source, read) ?? this.#fromLayers(read);
  }

  /** Whether to wait until the client has received the replies before, since then nothing is copied. */
  shouldWait(read: Running & { readonly type: number }): boolean {
    if (read.type !== CMD_READ || !this.#suitsFile(read.count)) return false;
    return this.#sourceOf(read)?.descriptor !== undefined;
  }

  /** The client makes holes. */
  forgetData(): void {
    this.#holes?.forgetData();
  }

  /** What can answer this read, if no layer has to see it. */
  #sourceOf({ count, offset }: Running): Source | undefined {
    const source = this.#source?.();
    return source !== undefined && offset + BigInt(count) <= source.size ? source : undefined;
  }

  // ---- as holes

  #asHoles(source: Source, read: Running): Answer | undefined {
    const { count, flags, offset } = read;
    if (!source.extentsAnswerReads || flags & CMD_FLAG_DF) return undefined;
    const parts = this.#holes?.parts(offset, count);
    if (parts === undefined) return undefined;
    const reply = new SparseReply(this.#output, this.#top, read);
    if (parts instanceof Promise) {
      const all = [{ at: 0, length: count, zero: false }];
      return { result: parts.then((known) => reply.fill(known ?? all)), sparse: reply };
    }
    let result: Awaitable<void>;
    try {
      result = reply.fill(parts);
    } catch (error) {
      reply.drop();
      throw error;
    }
    if (result !== undefined) return { result, sparse: reply };
    reply.send();
    return "sent";
  }

  // ---- from the file

  #suitsFile(count: number): boolean {
    return this.#output.sendsFiles && count >= leastFromFileBytes && count <= mostFromFileBytes;
  }

  #fromFile({ descriptor, offset: start }: Source, read: Running): Answer | undefined {
    const { count, offset } = read;
    if (descriptor === undefined || !this.#suitsFile(count)) return undefined;
    const output = this.#output;
    output.flush();
    if (output.held > 0) return undefined;
    const { headerBytes } = this.#replies;
    const at = output.reserve(headerBytes);
    this.#replies.dataHeader(output.block, at, read, count);
    const header = output.block.bytes.subarray(at, at + headerBytes);
    const part = { descriptor, offset: offset + start, count };
    return output.sendFile(header, part) ? "sent" : undefined;
  }

  // ---- from the layers

  #fromLayers(read: Running): Answer {
    return this.#atOnce >= trustedReads ? this.#inPlace(read) : this.#elsewhere(read);
  }

  /** Read right to where the reply is sent from. */
  #inPlace(read: Running): Answer {
    const { count, offset } = read;
    const output = this.#output;
    const { headerBytes } = this.#replies;
    const at = output.reserve(headerBytes + count);
    const start = at + headerBytes;
    const result = this.#top.pread(output.block.bytes.subarray(start, start + count), offset, 0);
    if (result === undefined) {
      this.#replies.dataHeader(output.block, at, read, count);
      output.end = start + count;
      return "sent";
    }
    this.#atOnce = 0;
    return { result, place: output.detach() };
  }

  /** The answer will probably come later: what it is written to must not stand among other replies. */
  #elsewhere(read: Running): Answer {
    const { count, offset } = read;
    const { headerBytes } = this.#replies;
    const place = this.#output.place(headerBytes, count);
    const start = place.start + headerBytes;
    let result: Awaitable<void>;
    try {
      result = this.#top.pread(place.block.bytes.subarray(start, start + count), offset, 0);
    } catch (error) {
      this.#output.release(place);
      throw error;
    }
    if (result === undefined) {
      this.#atOnce++;
      this.#replies.data(place, read, count);
      return "sent";
    }
    this.#atOnce = 0;
    return { result, place };
  }
}

/** A piece of a read: bytes that are to be read, or zeroes. */
interface Part {
  /** From the start of the read. */
  readonly at: number;
  readonly length: number;
  readonly zero: boolean;
}

/** Asks the layers which parts of a read are zeroes, if the answer is likely to be worth its cost. */
class Holes {
  readonly #top: NextOps;
  readonly #size: bigint;
  readonly #alignment: bigint;
  /** This range is known to be data: at worst, a hole that was made there since is read. */
  #dataFrom = 0n;
  #dataUntil = 0n;
  #inVain = 0;
  /** Reads that are still to come before the next question. */
  #rest = 0;

  /** Parts begin and end at multiples of `alignment`, but for the ends of the read. */
  constructor(top: NextOps, size: bigint, alignment: bigint) {
    this.#top = top;
    this.#size = size;
    this.#alignment = alignment;
  }

  /** The parts of a read, in order; undefined where there are no zeroes that are worth it. */
  parts(offset: bigint, count: number): Awaitable<readonly Part[] | undefined> {
    if (!this.#isPromising(offset, count)) return undefined;
    const extents = new Extents(offset, this.#size);
    let told: Awaitable<void>;
    try {
      told = this.#top.extents(count, offset, 0, extents);
    } catch {
      // The client has not asked for extents, so the read does not fail with their error.
      return this.#vain();
    }
    if (told === undefined) return this.#found(extents, offset, count);
    return told.then(
      () => this.#found(extents, offset, count),
      () => this.#vain(),
    );
  }

  forgetData(): void {
    this.#dataUntil = 0n;
    this.#rest = 0;
  }

  #isPromising(offset: bigint, count: number): boolean {
    if (count < leastAsHolesBytes) return false;
    if (offset >= this.#dataFrom && offset + BigInt(count) <= this.#dataUntil) return false;
    if (this.#rest === 0) return true;
    this.#rest--;
    return false;
  }

  #found(extents: Extents, offset: bigint, count: number): readonly Part[] | undefined {
    const parts = this.#parts(extents, offset, count);
    if (parts.some(({ zero }) => zero)) {
      this.#inVain = 0;
      return parts;
    }
    const [first] = extents;
    if (first !== undefined && (first.type & EXTENT_ZERO) === 0) {
      this.#dataFrom = first.offset;
      this.#dataUntil = first.offset + first.length;
    }
    return this.#vain();
  }

  #vain(): undefined {
    this.#inVain++;
    const over = this.#inVain - holePatience;
    this.#rest = over < 0 ? 0 : Math.min(2 ** over, longestHoleRest);
  }

  /** The parts of `count` bytes at `offset` by their extents. Bytes that no extent covers are read. */
  #parts(extents: Extents, offset: bigint, count: number): readonly Part[] {
    const parts: Part[] = [];
    const alignment = this.#alignment;
    let at = 0;
    for (const extent of extents) {
      const from = Number(extent.offset - offset);
      if (from >= count) break;
      if ((extent.type & EXTENT_ZERO) === 0) continue;
      const behind = extent.offset + extent.length;
      const until = Number(behind - offset);
      const start =
        from === 0 ? 0 : from + Number((alignment - (extent.offset % alignment)) % alignment);
      const end = until >= count ? count : until - Number(behind % alignment);
      if (end - start < smallestHoleBytes) continue;
      if (start > at) parts.push({ at, length: start - at, zero: false });
      parts.push({ at: start, length: end - start, zero: true });
      at = end;
    }
    if (at < count) parts.push({ at, length: count - at, zero: false });
    return parts;
  }
}

/** Several chunks: data, and zeroes that are not sent. */
class SparseReply {
  readonly #output: Output;
  readonly #top: NextOps;
  readonly #asked: Asked;
  /** Where the chunks stand once the first of them was begun. */
  #place: Place | undefined;
  /** Of all chunks with their headers. */
  #length = 0;

  constructor(output: Output, top: NextOps, { cookieHigh, cookieLow, offset }: Asked) {
    this.#output = output;
    this.#top = top;
    this.#asked = { cookieHigh, cookieLow, offset };
  }

  /** Write the chunks. Data is read in order, one piece after the other, as the thread model may demand. */
  fill(parts: readonly Part[]): Awaitable<void> {
    let length = 0;
    for (const part of parts) {
      length += part.zero ? HOLE_CHUNK_BYTES : dataHeaderBytes + part.length;
    }
    this.#length = length;
    this.#place = this.#output.place(0, length);
    return this.#from(this.#place, parts, 0, this.#place.start);
  }

  /** All chunks are complete. */
  send(): void {
    if (this.#place !== undefined) this.#output.adopt(this.#place, this.#length);
  }

  /** The read has failed. */
  drop(): void {
    if (this.#place !== undefined) this.#output.release(this.#place);
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
      const result = this.#top.pread(buf, where.offset, 0);
      if (result !== undefined) return result.then(() => this.#from(place, parts, i + 1, at));
    }
    return undefined;
  }
}

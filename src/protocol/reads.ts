/**
 * Decides how each read is answered, and answers it. There are three ways: as holes, where the layers know zeroes; from
 * the plugin's file, which the kernel sends; from the layers. The first two are for large reads that every layer leaves
 * alone: the chain's `source` says so, and what they can be answered from instead.
 */
import type { Awaitable, NextOps } from "../api/generated/methods.gen.ts";
import type { Source } from "../chain/layer.ts";
import { EXTENT_ZERO, Extents } from "../lib/extents.ts";
import { CMD_FLAG_DF, CMD_READ } from "./constants.ts";
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
import { DATA_CHUNK_BYTES, dataChunk, HOLE_CHUNK_BYTES, holeChunk } from "./replies.ts";
import type { RequestHeader } from "./request-header.ts";
import { type Exchange, Request } from "./request.ts";

export interface ReadOptions {
  /** Set where the client takes holes and the layers know them: pieces keep to multiples of this. */
  readonly smallestPiece?: number | undefined;
}

export class Read extends Request {
  readonly #reads: Reads;
  /** The reply, unless it is among others in the output's block or was sent from a file. */
  #place: Place | undefined;
  /** The bytes of the reply in `#place`, with all headers. */
  #length = 0;

  constructor(exchange: Exchange, reads: Reads) {
    super(exchange);
    this.#reads = reads;
  }

  run(): Awaitable<void> {
    const reads = this.#reads;
    const source = this.count < leastFromFileBytes ? undefined : reads.sourceOf(this);
    if (source !== undefined) {
      const parts = this.#partsIn(source);
      if (parts instanceof Promise) return this.#laterAsHoles(parts);
      if (parts !== undefined) return this.#asHoles(parts);
      if (this.#fromFile(source)) return undefined;
    }
    return reads.atOnce >= trustedReads ? this.#inPlace() : this.#elsewhere();
  }

  override reply(): void {
    const place = this.#place;
    if (place === undefined) return;
    this.#place = undefined;
    this.exchange.output.adopt(place, this.#length);
  }

  override drop(): void {
    const place = this.#place;
    if (place === undefined) return;
    this.#place = undefined;
    this.exchange.output.release(place);
  }

  // ---- as holes

  #partsIn(source: Source): Awaitable<readonly Part[] | undefined> {
    if (!source.extentsAnswerReads || this.flags & CMD_FLAG_DF) return undefined;
    return this.#reads.holes?.parts(this.offset, this.count);
  }

  #laterAsHoles(parts: Promise<readonly Part[] | undefined>): Promise<void> {
    const all = [{ at: 0, length: this.count, zero: false }];
    return parts.then((known) => this.#asHoles(known ?? all));
  }

  /** Reply with several chunks: data, and zeroes that are not sent. */
  #asHoles(parts: readonly Part[]): Awaitable<void> {
    let length = 0;
    for (const part of parts) {
      length += part.zero ? HOLE_CHUNK_BYTES : DATA_CHUNK_BYTES + part.length;
    }
    this.#place = this.exchange.output.place(0, length);
    this.#length = length;
    return this.#chunks(this.#place, parts, 0, this.#place.start);
  }

  /** Write the chunks. Data is read in order, one part after the other, as the thread model may demand. */
  #chunks(place: Place, parts: readonly Part[], first: number, start: number): Awaitable<void> {
    const { bytes, view } = place.block;
    let at = start;
    for (let i = first; i < parts.length; i++) {
      const part = parts[i];
      if (part === undefined) return undefined;
      const { length } = part;
      const offset = this.offset + BigInt(part.at);
      const last = i === parts.length - 1;
      if (part.zero) {
        holeChunk(view, at, this, offset, length, last);
        at += HOLE_CHUNK_BYTES;
        continue;
      }
      dataChunk(view, at, this, offset, length, last);
      const data = at + DATA_CHUNK_BYTES;
      at = data + length;
      const result = this.exchange.export.top.pread(bytes.subarray(data, at), offset, 0);
      if (result !== undefined) return result.then(() => this.#chunks(place, parts, i + 1, at));
    }
    return undefined;
  }

  // ---- from the file

  /** Send the reply from the file. False if that cannot be done now. */
  #fromFile({ descriptor, offset: start }: Source): boolean {
    const { count, offset } = this;
    if (descriptor === undefined || !this.#reads.suitsFile(count)) return false;
    const { output, replies } = this.exchange;
    output.flush();
    if (output.held > 0) return false;
    const { headerBytes } = replies;
    const at = output.reserve(headerBytes);
    replies.dataHeader(output.block, at, this);
    const header = output.block.bytes.subarray(at, at + headerBytes);
    return output.sendFile(header, { descriptor, offset: offset + start, count });
  }

  // ---- from the layers

  /** Read right to where the reply is sent from. */
  #inPlace(): Awaitable<void> {
    const { export: chosen, output, replies } = this.exchange;
    const length = replies.headerBytes + this.count;
    const at = output.reserve(length);
    const end = at + length;
    replies.dataHeader(output.block, at, this);
    const buf = output.block.bytes.subarray(at + replies.headerBytes, end);
    const result = chosen.top.pread(buf, this.offset, 0);
    if (result === undefined) {
      output.end = end;
      return undefined;
    }
    this.#reads.atOnce = 0;
    this.#place = output.detach();
    this.#length = length;
    return result;
  }

  /** The answer will probably come later, so it needs memory that no other reply shares. */
  #elsewhere(): Awaitable<void> {
    const { export: chosen, output, replies } = this.exchange;
    const { headerBytes } = replies;
    const place = output.place(headerBytes, this.count);
    this.#place = place;
    this.#length = headerBytes + this.count;
    replies.dataHeader(place.block, place.start, this);
    const end = place.start + this.#length;
    const buf = place.block.bytes.subarray(place.start + headerBytes, end);
    const result = chosen.top.pread(buf, this.offset, 0);
    if (result === undefined) this.#reads.atOnce++;
    else this.#reads.atOnce = 0;
    return result;
  }
}

/** What the reads of one connection have in common. */
export class Reads {
  /** Undefined where no read is answered as holes. */
  readonly holes: Holes | undefined;
  /** Reads in a row that the layers answered at once. */
  atOnce = 0;
  readonly #source: (() => Source | undefined) | undefined;
  readonly #output: Output;

  constructor({ top, size, source }: ChosenExport, output: Output, { smallestPiece }: ReadOptions) {
    this.#source = source;
    this.#output = output;
    if (smallestPiece !== undefined) this.holes = new Holes(top, size, BigInt(smallestPiece));
  }

  /** What can answer this read, if no layer has to see it. */
  sourceOf({ count, offset }: RequestHeader): Source | undefined {
    const source = this.#source?.();
    return source !== undefined && offset + BigInt(count) <= source.size ? source : undefined;
  }

  suitsFile(count: number): boolean {
    return this.#output.sendsFiles && count >= leastFromFileBytes && count <= mostFromFileBytes;
  }

  /** Whether to wait until the client has received the replies before, since then nothing is copied. */
  shouldWait(request: RequestHeader): boolean {
    if (request.type !== CMD_READ || !this.suitsFile(request.count)) return false;
    return this.sourceOf(request)?.descriptor !== undefined;
  }

  /** The client makes holes. */
  forgetData(): void {
    this.holes?.forgetData();
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

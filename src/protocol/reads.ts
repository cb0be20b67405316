/**
 * Decides how each read is answered, and answers it. There are three ways: report holes, where layers know of zeroes;
 * let the kernel send the plugin's file; call the layers. The first two are for large reads that every filter leaves
 * alone: `source` of the chain says so, and what can answer instead.
 */
import type { Awaitable, NextOps } from "../api/generated/methods.gen.ts";
import type { Source } from "../chain/layer.ts";
import { EXTENT_ZERO, Extents } from "../lib/extents.ts";
import { CMD_FLAG_DF, CMD_READ } from "./constants.ts";
import {
  leastAsHolesBytes,
  leastFromFileBytes,
  mostFromFileBytes,
  mostPostponedReads,
  mostUselessQuestions,
  smallestHoleBytes,
  trustedReads,
} from "./limits.ts";
import type { ChosenExport } from "./negotiation.ts";
import type { Output, Place } from "./output.ts";
import { DATA_CHUNK_BYTES, dataChunk, HOLE_CHUNK_BYTES, holeChunk } from "./replies.ts";
import type { RequestHeader } from "./request-header.ts";
import { type Exchange, Request } from "./request.ts";

export interface ReadOptions {
  /** Chunks of replies are multiples of this. Undefined if replies do not report holes. */
  readonly smallestPiece?: number | undefined;
}

export class Read extends Request {
  readonly #reads: Reads;
  /** The reply, unless it is in the output's block or was sent from a file. */
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

  /** Reply with several chunks: data, and holes for zeroes. */
  #asHoles(parts: readonly Part[]): Awaitable<void> {
    let length = 0;
    for (const part of parts) {
      length += part.zero ? HOLE_CHUNK_BYTES : DATA_CHUNK_BYTES + part.length;
    }
    this.#place = this.exchange.output.place(0, length);
    this.#length = length;
    return this.#chunks(this.#place, parts, 0, this.#place.start);
  }

  /** Write the chunks. Read the data of one after the other, since the thread model may demand it. */
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

  /** Read straight into the output's block. */
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

  /** The layers will probably answer later, so read into memory that no other reply shares. */
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

/** State that the reads of one connection share. */
export class Reads {
  /** Undefined if replies do not report holes. */
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

  /** What can answer this read in place of the layers. */
  sourceOf({ count, offset }: RequestHeader): Source | undefined {
    const source = this.#source?.();
    return source !== undefined && offset + BigInt(count) <= source.size ? source : undefined;
  }

  /** Not where requests are serialized: the client would see writes that it sent behind the read. */
  suitsFile(count: number): boolean {
    const { inOrder, sendsFiles } = this.#output;
    return sendsFiles && !inOrder && count >= leastFromFileBytes && count <= mostFromFileBytes;
  }

  /**
   * Whether to wait until the client has received the earlier replies, since the file can then be sent without a copy.
   */
  shouldWait(request: RequestHeader): boolean {
    if (request.type !== CMD_READ || !this.suitsFile(request.count)) return false;
    return this.sourceOf(request)?.descriptor !== undefined;
  }

  /** The client may have turned data into holes. */
  forgetData(): void {
    this.holes?.forgetData();
  }
}

/** A part of a read: data to read, or zeroes. */
interface Part {
  /** The start of the part, relative to the read. */
  readonly at: number;
  readonly length: number;
  readonly zero: boolean;
}

/** Asks the layers which parts of a read are zeroes, when the answer is likely to be worth its cost. */
class Holes {
  readonly #top: NextOps;
  readonly #size: bigint;
  readonly #alignment: bigint;
  /** The range is known to be data. If it has become a hole since, it is read and sent as zeroes. */
  #dataFrom = 0n;
  #dataUntil = 0n;
  /** Questions in a row that found no zeroes worth a hole chunk. */
  #useless = 0;
  /** Reads to wait before the next question. */
  #postponed = 0;

  /** Parts begin and end at multiples of `alignment`, except at the ends of the read. */
  constructor(top: NextOps, size: bigint, alignment: bigint) {
    this.#top = top;
    this.#size = size;
    this.#alignment = alignment;
  }

  /** The parts of a read, in order. Undefined if no zeroes are worth a hole chunk. */
  parts(offset: bigint, count: number): Awaitable<readonly Part[] | undefined> {
    if (!this.#isPromising(offset, count)) return undefined;
    const extents = new Extents(offset, this.#size);
    let result: Awaitable<void>;
    try {
      result = this.#top.extents(count, offset, 0, extents);
    } catch {
      // The client did not ask for extents, so their failure must not fail the read.
      return this.#postpone();
    }
    if (result === undefined) return this.#found(extents, offset, count);
    return result.then(
      () => this.#found(extents, offset, count),
      () => this.#postpone(),
    );
  }

  forgetData(): void {
    this.#dataUntil = 0n;
    this.#postponed = 0;
  }

  #isPromising(offset: bigint, count: number): boolean {
    if (count < leastAsHolesBytes) return false;
    if (offset >= this.#dataFrom && offset + BigInt(count) <= this.#dataUntil) return false;
    if (this.#postponed === 0) return true;
    this.#postponed--;
    return false;
  }

  #found(extents: Extents, offset: bigint, count: number): readonly Part[] | undefined {
    const parts = this.#parts(extents, offset, count);
    if (parts.some(({ zero }) => zero)) {
      this.#useless = 0;
      return parts;
    }
    const [first] = extents;
    if (first !== undefined && (first.type & EXTENT_ZERO) === 0) {
      this.#dataFrom = first.offset;
      this.#dataUntil = first.offset + first.length;
    }
    return this.#postpone();
  }

  #postpone(): undefined {
    this.#useless++;
    const over = this.#useless - mostUselessQuestions;
    this.#postponed = over < 0 ? 0 : Math.min(2 ** over, mostPostponedReads);
  }

  /** Split a read by its extents. Bytes without an extent are read. */
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

/** Parses the client's bytes into requests with their payload, and checks them. Holds one request at a time. */
import { log } from "../lib/log.ts";
import { freeUsedUp } from "../lib/used-up.ts";
import type { Blocks } from "./blocks.ts";
import {
  CMD_DISC,
  CMD_READ,
  CMD_WRITE,
  EFLAG_READ_ONLY,
  MAX_REQUEST_BYTES,
  MAX_SKIPPED_BYTES,
  REQUEST_HEADER_BYTES,
  REQUEST_MAGIC,
} from "./constants.ts";
import { bulkWriteBytes } from "./limits.ts";
import { Payload } from "./payload.ts";
import { type Refusal, refusalOf, type Terms } from "./refusal.ts";

const nothing = new Uint8Array(0);
const noView = new DataView(new ArrayBuffer(0));

export class RequestReader {
  /** A complete request waits. The caller that runs it clears this. */
  ready = false;
  /** The client disconnected or broke the protocol. No more input is read. */
  broken = false;

  // The current request. The cookie is only copied, so two numbers are enough.
  type = 0;
  flags = 0;
  cookieHigh = 0;
  cookieLow = 0;
  offset = 0n;
  count = 0;
  /** The data of a WRITE. */
  data: Uint8Array = nothing;
  /** The reply that refuses the request. */
  refused: Refusal | undefined;

  readonly #terms: Terms;
  readonly #blocks: Blocks;
  readonly #logName: string;
  /** The export's size, if a number holds it exactly, else -1. */
  readonly #size: number;
  readonly #writable: boolean;
  /** Chunks that arrived before the current one was used up. */
  #chunks: Uint8Array[] = [];
  #chunk: Uint8Array = nothing;
  /** Layers that answer later use a part of the chunk. */
  #lent = false;
  #view: DataView = noView;
  #at = 0;
  /** The chunk's length on arrival. The chunk shrinks if a layer detaches its memory. */
  #length = 0;
  readonly #header = new Uint8Array(new ArrayBuffer(REQUEST_HEADER_BYTES));
  readonly #headerView = new DataView(this.#header.buffer);
  #headerBytes = 0;
  #payload: Payload | undefined;
  /** Bytes of a refused WRITE's payload that are still to be skipped. */
  #skip = 0;
  /** The data of a large write was received into `room`, and more such writes may follow. */
  #bulk = false;

  constructor(terms: Terms, blocks: Blocks, logName: string) {
    this.#terms = terms;
    this.#blocks = blocks;
    this.#logName = logName;
    this.#size = terms.size <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(terms.size) : -1;
    this.#writable = (terms.eflags & EFLAG_READ_ONLY) === 0;
  }

  /** No request waits, and all bytes are parsed. */
  get empty(): boolean {
    return !this.ready && this.#at === this.#length;
  }

  /** The input ended within a request. */
  get incomplete(): boolean {
    return this.#headerBytes > 0 || this.#skip > 0 || (this.#payload !== undefined && !this.ready);
  }

  get heldBytes(): number {
    const waiting = this.#chunks.reduce((sum, chunk) => sum + chunk.length, this.#chunk.length);
    return waiting + (this.#payload?.capacity ?? 0);
  }

  /** Take a chunk from the client. The reader owns its memory: layers get parts of it, or it is freed. */
  push(chunk: Uint8Array): void {
    this.#bulk = false;
    if (this.#at < this.#length) this.#chunks.push(chunk);
    else this.#begin(chunk);
  }

  clear(): void {
    this.#chunks = [];
    this.#begin(nothing);
    if (this.#payload !== undefined && this.#payload.missing > 0) this.#payload.abandon();
    this.#payload = undefined;
    this.data = nothing;
    this.ready = false;
  }

  /**
   * Parse until a request is complete, and return whether there is one. If not, more bytes are needed, or the reader is
   * `broken`.
   */
  read(): boolean {
    while (!this.broken && !this.ready) {
      if (this.#at === this.#length) {
        const next = this.#chunks.shift();
        if (next === undefined) break;
        this.#begin(next);
      } else if (this.#chunk.length === 0) {
        this.#break("a layer gave away memory that had requests in it: closing connection");
      } else if (this.#payload !== undefined) {
        this.#readPayload(this.#payload);
      } else if (this.#skip > 0) {
        this.#readSkipped();
      } else {
        this.#readHeader();
      }
    }
    // Do not keep a used chunk alive while the client is silent.
    if (!this.ready && this.#length > 0 && !this.broken) this.#begin(nothing);
    return this.ready;
  }

  /** Where to receive the next bytes without `push`. Undefined if that would not help. */
  get room(): Uint8Array | undefined {
    if (this.ready || this.broken || this.#at < this.#length || this.#chunks.length > 0) {
      return undefined;
    }
    if (this.#payload !== undefined) return this.#payload.room;
    return this.#bulk ? this.#header.subarray(this.#headerBytes) : undefined;
  }

  /** The caller has put `count` bytes into `room`. */
  fill(count: number): void {
    const payload = this.#payload;
    if (payload === undefined) {
      this.#headerBytes += count;
      if (this.#headerBytes < REQUEST_HEADER_BYTES) return;
      this.#bulk = false;
      this.#completeHeader();
    } else {
      payload.fill(count);
      this.#bulk = payload.count >= bulkWriteBytes;
      this.#completeIfWhole(payload);
    }
  }

  /** The layers answer this write later, so its data must not change. The caller then releases the returned payload. */
  keepPayload(): Payload | undefined {
    const payload = this.#payload;
    if (payload === undefined && this.data.length > 0) this.#lent = true;
    this.#payload = undefined;
    this.data = nothing;
    return payload;
  }

  /** The request was answered, so its data is no longer used. */
  releasePayload(): void {
    this.#payload?.release();
    this.#payload = undefined;
    this.data = nothing;
  }

  #begin(chunk: Uint8Array): void {
    if (!this.#lent && this.data.buffer !== this.#chunk.buffer) freeUsedUp(this.#chunk);
    this.#lent = false;
    this.#chunk = chunk;
    this.#length = chunk.length;
    this.#view =
      chunk.length === 0 ? noView : new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
    this.#at = 0;
  }

  #readHeader(): void {
    const at = this.#at;
    if (this.#headerBytes === 0 && this.#chunk.length - at >= REQUEST_HEADER_BYTES) {
      this.#at = at + REQUEST_HEADER_BYTES;
      this.#parse(this.#view, at);
      return;
    }
    const part = this.#chunk.subarray(at, at + REQUEST_HEADER_BYTES - this.#headerBytes);
    this.#header.set(part, this.#headerBytes);
    this.#headerBytes += part.length;
    this.#at = at + part.length;
    if (this.#headerBytes === REQUEST_HEADER_BYTES) this.#completeHeader();
  }

  #completeHeader(): void {
    this.#headerBytes = 0;
    this.#parse(this.#headerView, 0);
  }

  #parse(view: DataView, at: number): void {
    const magic = view.getUint32(at);
    if (magic !== REQUEST_MAGIC) {
      this.#break(
        `invalid request: magic number 0x${magic.toString(16)}, expected 0x${REQUEST_MAGIC.toString(16)}`,
      );
      return;
    }
    const type = view.getUint16(at + 6);
    const count = view.getUint32(at + 24);
    this.flags = view.getUint16(at + 4);
    this.type = type;
    this.cookieHigh = view.getUint32(at + 8);
    this.cookieLow = view.getUint32(at + 12);
    this.offset = view.getBigUint64(at + 16);
    this.count = count;
    this.refused = undefined;
    // Most requests are plain reads and writes, and their range is checked with numbers. A sum that is too large to be
    // exact is far beyond the export's size.
    const end = view.getUint32(at + 16) * 0x100000000 + view.getUint32(at + 20) + count;
    const fits = count > 0 && end <= this.#size;
    const plain =
      fits &&
      this.flags === 0 &&
      count <= MAX_REQUEST_BYTES &&
      (type === CMD_READ || (type === CMD_WRITE && this.#writable));
    if (!plain && !this.#check(fits)) return;
    if (type === CMD_WRITE) this.#expectPayload();
    else this.ready = true;
  }

  /** Whether to go on: to receive the rest of the request, and to run or refuse it. */
  #check(fits: boolean): boolean {
    const { count, type } = this;
    if (type === CMD_DISC) {
      log.debug("client sent NBD_CMD_DISC, closing connection", this.#logName);
      this.broken = true;
      return false;
    }
    const refusal = refusalOf(this, this.#terms, fits);
    if (refusal === undefined) return true;
    log.error(refusal.message, this.#logName);
    this.refused = refusal;
    if (type !== CMD_WRITE || count <= MAX_SKIPPED_BYTES) return true;
    this.#break(
      `invalid request: the refused write brings ${count} bytes, more than the ${MAX_SKIPPED_BYTES} that are skipped: closing connection`,
    );
    return false;
  }

  #break(message: string): void {
    log.error(message, this.#logName);
    this.broken = true;
  }

  #expectPayload(): void {
    const { count } = this;
    if (this.refused !== undefined) {
      this.#skip = count;
      this.ready = count === 0;
    } else if (this.#chunk.length - this.#at >= count) {
      this.data = this.#chunk.subarray(this.#at, this.#at + count);
      this.#at += count;
      this.ready = true;
    } else {
      this.#payload = new Payload(count, this.#blocks);
    }
  }

  #readPayload(payload: Payload): void {
    const part = this.#chunk.subarray(this.#at, this.#at + payload.missing);
    payload.add(part);
    this.#at += part.length;
    this.#completeIfWhole(payload);
  }

  #completeIfWhole(payload: Payload): void {
    if (payload.missing > 0) return;
    this.data = payload.bytes;
    this.ready = true;
  }

  #readSkipped(): void {
    const skipped = Math.min(this.#skip, this.#chunk.length - this.#at);
    this.#at += skipped;
    this.#skip -= skipped;
    this.ready = this.#skip === 0;
  }
}

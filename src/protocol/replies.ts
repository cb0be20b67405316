/** Writes simple and structured replies. */
import type { Extents } from "../lib/extents.ts";
import { describeBlocks } from "./block-status.ts";
import type { Block } from "./blocks.ts";
import {
  BASE_ALLOCATION_ID,
  CHUNK_BLOCK_STATUS,
  CHUNK_ERROR,
  CHUNK_ERROR_OFFSET,
  CHUNK_FLAG_DONE,
  CHUNK_HEADER_BYTES,
  CHUNK_OFFSET_DATA,
  CHUNK_OFFSET_HOLE,
  MAX_STRING_BYTES,
  SIMPLE_HEADER_BYTES,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from "./constants.ts";
import type { Output } from "./output.ts";
import type { RequestHeader } from "./request-header.ts";

/** An error in the client's terms. */
export interface WireFailure {
  readonly error: number;
  /** A message for clients with structured replies. */
  readonly text: string;
  /** The offset of the error, if it is known. */
  readonly at?: bigint | undefined;
}

const encoder = new TextEncoder();

export class Replies {
  /** With structured replies, data and errors are sent as chunks. Success without data stays a simple reply. */
  readonly structured: boolean;
  /** The size of the header of a read's reply. */
  readonly headerBytes: number;
  readonly #output: Output;

  constructor(output: Output, structured: boolean) {
    this.#output = output;
    this.structured = structured;
    this.headerBytes = structured ? DATA_CHUNK_BYTES : SIMPLE_HEADER_BYTES;
  }

  /** Reply with success, without data. */
  done(request: RequestHeader): void {
    const output = this.#output;
    const at = output.reserve(SIMPLE_HEADER_BYTES);
    writeSimple(output.block.view, at, 0, request);
    output.end = at + SIMPLE_HEADER_BYTES;
  }

  failed(request: RequestHeader, failure: WireFailure): void {
    if (this.structured) {
      this.#errorChunk(request, failure);
      return;
    }
    const output = this.#output;
    const at = output.reserve(SIMPLE_HEADER_BYTES);
    writeSimple(output.block.view, at, failure.error, request);
    output.end = at + SIMPLE_HEADER_BYTES;
  }

  /** Write the header of a read's reply at `at`. The caller puts the data behind it. */
  dataHeader({ view }: Block, at: number, request: RequestHeader): void {
    if (this.structured) dataChunk(view, at, request, request.offset, request.count, true);
    else writeSimple(view, at, 0, request);
  }

  /** Reply with the extents of the requested range. Returns false if there are none. */
  blockStatus(request: RequestHeader, extents: Extents, one: boolean): boolean {
    const blocks = describeBlocks(extents, request.offset, request.count, one);
    if (blocks.length === 0) return false;
    const { view, at } = this.#chunk(CHUNK_BLOCK_STATUS, request, 4 + 4 * blocks.length);
    view.setUint32(at, BASE_ALLOCATION_ID);
    for (let i = 0; i < blocks.length; i++) view.setUint32(at + 4 + 4 * i, blocks[i] ?? 0);
    return true;
  }

  #errorChunk(request: RequestHeader, { error, text, at: where }: WireFailure): void {
    const message = textBytes(text);
    const type = where === undefined ? CHUNK_ERROR : CHUNK_ERROR_OFFSET;
    const length = 6 + message.length + (where === undefined ? 0 : 8);
    const { view, at } = this.#chunk(type, request, length);
    view.setUint32(at, error);
    view.setUint16(at + 4, message.length);
    this.#output.block.bytes.set(message, at + 6);
    if (where !== undefined) view.setBigUint64(at + 6 + message.length, where);
  }

  /** Begin a reply of one chunk, and return where its payload goes. */
  #chunk(type: number, request: RequestHeader, length: number): { view: DataView; at: number } {
    const output = this.#output;
    const at = output.reserve(CHUNK_HEADER_BYTES + length);
    const { view } = output.block;
    writeChunk(view, at, type, request, length);
    output.end = at + CHUNK_HEADER_BYTES + length;
    return { view, at: at + CHUNK_HEADER_BYTES };
  }
}

export const DATA_CHUNK_BYTES = CHUNK_HEADER_BYTES + 8;

/** Write the header of a chunk with data: `length` bytes at `offset` of the export. */
export function dataChunk(
  view: DataView,
  at: number,
  request: RequestHeader,
  offset: bigint,
  length: number,
  last: boolean,
): void {
  writeChunk(view, at, CHUNK_OFFSET_DATA, request, 8 + length);
  if (!last) view.setUint16(at + 4, 0);
  view.setBigUint64(at + CHUNK_HEADER_BYTES, offset);
}

export const HOLE_CHUNK_BYTES = CHUNK_HEADER_BYTES + 12;

/** Write a hole chunk: `length` zeroes at `offset` of the export. */
export function holeChunk(
  view: DataView,
  at: number,
  request: RequestHeader,
  offset: bigint,
  length: number,
  last: boolean,
): void {
  writeChunk(view, at, CHUNK_OFFSET_HOLE, request, 12);
  if (!last) view.setUint16(at + 4, 0);
  view.setBigUint64(at + CHUNK_HEADER_BYTES, offset);
  view.setUint32(at + CHUNK_HEADER_BYTES + 8, length);
}

/** Encode text for the protocol. Cut long text, but not within a character. */
export function textBytes(text: string): Uint8Array {
  const bytes = encoder.encode(text);
  if (bytes.length <= MAX_STRING_BYTES) return bytes;
  let end = MAX_STRING_BYTES;
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}

function writeSimple(view: DataView, at: number, error: number, request: RequestHeader): void {
  view.setUint32(at, SIMPLE_REPLY_MAGIC);
  view.setUint32(at + 4, error);
  view.setUint32(at + 8, request.cookieHigh);
  view.setUint32(at + 12, request.cookieLow);
}

function writeChunk(
  view: DataView,
  at: number,
  type: number,
  request: RequestHeader,
  length: number,
): void {
  view.setUint32(at, STRUCTURED_REPLY_MAGIC);
  view.setUint16(at + 4, CHUNK_FLAG_DONE);
  view.setUint16(at + 6, type);
  view.setUint32(at + 8, request.cookieHigh);
  view.setUint32(at + 12, request.cookieLow);
  view.setUint32(at + 16, length);
}

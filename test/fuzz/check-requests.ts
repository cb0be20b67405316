/** Checks that a server's replies to requests are correct. */

import type { ByteReader } from "./byte-reader.ts";
import { type Features, kinds } from "./features.ts";

/** The negotiated features. */
export interface Terms {
  readonly structured: boolean;
  readonly allocation: boolean;
}

interface Case {
  /** The data of ranges without writes, if known. */
  readonly disk: Uint8Array | undefined;
  readonly sent: ByteReader;
  readonly output: ByteReader;
  readonly features: Features;
  readonly terms: Terms;
  readonly cut: boolean;
}

interface OpenRequest {
  readonly type: number;
  readonly flags: number;
  readonly offset: bigint;
  readonly count: number;
  /** The bytes and chunks received so far. */
  received: number;
  chunks: number;
}

const requestMagic = 0x25609513;
const [READ, WRITE, DISC, TRIM, ZEROES, STATUS] = [0, 1, 2, 4, 6, 7] as const;
const REQ_ONE = 8;
const errors: ReadonlySet<number> = new Set([1, 5, 12, 22, 28, 75, 95, 108]);
const writes: ReadonlySet<number> = new Set([WRITE, TRIM, ZEROES]);

/** Throws if the server made a mistake. Returns the number of complete requests. */
export function checkRequests(it: Case): number {
  const { requests, messages, ambiguous } = requestsIn(it.sent);
  // With a cookie used twice, replies cannot be assigned to requests.
  if (ambiguous) return messages;
  const writing = [...requests.values()].some(({ type }) => writes.has(type));
  const disk = writing ? undefined : it.disk;
  const waiting = new Map(requests);
  while (it.output.left > 0) {
    const magic = it.output.u32(it.output.skip(4, "magic of a reply"));
    if (magic === 0x67446698) simple(it, waiting, disk);
    else if (magic === 0x668e33ef && it.terms.structured) chunk(it, waiting, disk);
    else throw new Error(`wrong magic 0x${magic.toString(16)} of a reply`);
  }
  if (waiting.size > 0 && !it.cut) {
    const [first] = waiting.values();
    throw new Error(`${waiting.size} requests have no answer, the first of type ${first?.type}`);
  }
  return messages;
}

/** All complete requests that the server reads. */
function requestsIn(sent: ByteReader) {
  const requests = new Map<bigint, OpenRequest>();
  let messages = 0;
  let ambiguous = false;
  while (sent.left >= 28) {
    const at = sent.skip(28, "request");
    if (sent.u32(at) !== requestMagic) break;
    const type = sent.u16(at + 6);
    const count = sent.u32(at + 24);
    if (type === DISC) {
      messages++;
      break;
    }
    if (type === WRITE) {
      if (sent.left < count) break;
      sent.skip(count, "payload");
    }
    messages++;
    const cookie = sent.u64(at + 8);
    ambiguous ||= requests.has(cookie);
    const fields = { type, flags: sent.u16(at + 4), offset: sent.u64(at + 16), count };
    requests.set(cookie, { ...fields, received: 0, chunks: 0 });
  }
  return { requests, messages, ambiguous };
}

function find(waiting: Map<bigint, OpenRequest>, cookie: bigint): OpenRequest {
  const request = waiting.get(cookie);
  if (request === undefined)
    throw new Error(`a reply with cookie ${cookie}, which no open request has`);
  return request;
}

function simple(it: Case, waiting: Map<bigint, OpenRequest>, disk: Uint8Array | undefined): void {
  const { features, output, terms } = it;
  const at = output.skip(12, "simple reply");
  const error = output.u32(at);
  const cookie = output.u64(at + 4);
  const request = find(waiting, cookie);
  waiting.delete(cookie);
  checkError(error);
  features.add(kinds.request(request.type, request.flags, error));
  const dataType = request.type === READ || request.type === STATUS;
  if (terms.structured && (error !== 0 || dataType)) {
    throw new Error(`a simple reply with error ${error} to a request of type ${request.type}`);
  }
  if (error !== 0 || request.type !== READ) return;
  sameData(disk, request.offset, output.take(request.count, "data of a read"));
}

function checkError(error: number): void {
  if (error !== 0 && !errors.has(error)) throw new Error(`error ${error} is not one of NBD's`);
}

function sameData(disk: Uint8Array | undefined, offset: bigint, data: Uint8Array): void {
  if (disk === undefined) return;
  const at = Number(offset);
  if (Buffer.compare(data, disk.subarray(at, at + data.length)) === 0) return;
  throw new Error(`the ${data.length} bytes read at ${offset} are not those of the disk`);
}

function chunk(it: Case, waiting: Map<bigint, OpenRequest>, disk: Uint8Array | undefined): void {
  const { features, output } = it;
  const at = output.skip(16, "structured reply");
  const done = output.u16(at) === 1;
  const type = output.u16(at + 2);
  const cookie = output.u64(at + 4);
  const request = find(waiting, cookie);
  if (done) waiting.delete(cookie);
  if (output.u16(at) > 1) throw new Error("unknown flags of a chunk");
  features.add(kinds.chunk(type, request.type, request.chunks));
  request.chunks++;
  const start = output.skip(output.u32(at + 12), "data of a chunk");
  const length = output.at - start;
  if (type === 1 || type === 2) dataOrHole(it, request, { start, length, hole: type === 2 }, disk);
  else if (type === 5) status(it, request, start, length);
  else if (type === 0x8001 || type === 0x8002) failure(it, request, { start, length, type });
  else throw new Error(`a chunk of type ${type}`);
  if (!done) return;
  if (request.type === READ && type < 0x8000 && request.received !== request.count) {
    throw new Error(`a read of ${request.count} bytes got ${request.received} bytes`);
  }
}

function dataOrHole(
  { features, output }: Case,
  request: OpenRequest,
  {
    start,
    length,
    hole,
  }: { readonly start: number; readonly length: number; readonly hole: boolean },
  disk: Uint8Array | undefined,
): void {
  if (request.type !== READ) throw new Error(`data for a request of type ${request.type}`);
  const offset = output.u64(start);
  // The server sends chunks in order, without gaps and overlaps.
  if (offset !== request.offset + BigInt(request.received))
    throw new Error("a chunk in the wrong place");
  if (hole && length !== 12) throw new Error("a hole of the wrong length");
  const count = hole ? output.u32(start + 8) : length - 8;
  if (count <= 0) throw new Error("an empty chunk");
  request.received += count;
  if (request.received > request.count) throw new Error("more data than the request has");
  if (hole && request.flags & 4) throw new Error("a hole in spite of DF");
  features.add(kinds.request(READ, request.flags, 0));
  const data = hole ? new Uint8Array(count) : output.bytes(start + 8, count);
  sameData(disk, offset, data);
}

function status(
  { features, output, terms }: Case,
  request: OpenRequest,
  start: number,
  length: number,
): void {
  if (request.type !== STATUS || !terms.allocation)
    throw new Error("block status without a request for it");
  if (output.u32(start) !== 1) throw new Error("block status of another context");
  if (length < 12 || length % 8 !== 4) throw new Error(`block status of ${length} bytes`);
  const one = (request.flags & REQ_ONE) !== 0;
  let received = 0;
  for (let at = start + 4; at < start + length; at += 8) {
    if (received >= request.count) throw new Error("a block that begins behind the request");
    if (output.u32(at) === 0) throw new Error("an empty block");
    if (output.u32(at + 4) > 3) throw new Error("unknown bits of block status");
    received += output.u32(at);
  }
  if (one && (length !== 12 || received > request.count))
    throw new Error("more than REQ_ONE allows");
  features.add(kinds.request(STATUS, request.flags, 0));
}

function failure(
  { features, output }: Case,
  request: OpenRequest,
  {
    start,
    length,
    type,
  }: { readonly start: number; readonly length: number; readonly type: number },
): void {
  const error = output.u32(start);
  if (error === 0) throw new Error("an error chunk without an error");
  checkError(error);
  const text = output.u16(start + 4);
  if (length !== 6 + text + (type === 0x8002 ? 8 : 0))
    throw new Error("error chunk of the wrong length");
  features.add(kinds.request(request.type, request.flags, error));
  if (type === 0x8001) return;
  const at = output.u64(start + 6 + text);
  if (at < request.offset || at >= request.offset + BigInt(request.count)) {
    throw new Error("an error at an offset outside the request");
  }
}

/** Whether requests are answered as they have to be. */
import { type Features, kinds } from "./features.ts";
import type { Said } from "./said.ts";

/** What was negotiated. */
export interface Terms {
  readonly structured: boolean;
  readonly allocation: boolean;
}

interface Case {
  /** The data of ranges without writes, if known. */
  readonly disk: Uint8Array | undefined;
  readonly sent: Said;
  readonly said: Said;
  readonly features: Features;
  readonly terms: Terms;
  readonly cut: boolean;
}

interface Asked {
  readonly type: number;
  readonly flags: number;
  readonly offset: bigint;
  readonly count: number;
  /** Bytes that were told so far, and chunks. */
  told: number;
  chunks: number;
}

const requestMagic = 0x25609513;
const [READ, WRITE, DISC, TRIM, ZEROES, STATUS] = [0, 1, 2, 4, 6, 7] as const;
const REQ_ONE = 8;
const errors: ReadonlySet<number> = new Set([1, 5, 12, 22, 28, 75, 95, 108]);
const writes: ReadonlySet<number> = new Set([WRITE, TRIM, ZEROES]);

/** Throws where the server did wrong; returns how many complete requests there were. */
export function judgeRequests(it: Case): number {
  const { asked, messages, ambiguous } = requestsIn(it.sent);
  // Replies cannot be told apart then.
  if (ambiguous) return messages;
  const writing = [...asked.values()].some(({ type }) => writes.has(type));
  const disk = writing ? undefined : it.disk;
  const waiting = new Map(asked);
  while (it.said.left > 0) {
    const magic = it.said.u32(it.said.skip(4, "magic of a reply"));
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

/** All complete requests up to where the server stops reading. */
function requestsIn(sent: Said) {
  const asked = new Map<bigint, Asked>();
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
    ambiguous ||= asked.has(cookie);
    const fields = { type, flags: sent.u16(at + 4), offset: sent.u64(at + 16), count };
    asked.set(cookie, { ...fields, told: 0, chunks: 0 });
  }
  return { asked, messages, ambiguous };
}

function find(waiting: Map<bigint, Asked>, cookie: bigint): Asked {
  const asked = waiting.get(cookie);
  if (asked === undefined) throw new Error(`a reply with cookie ${cookie}, which waits for none`);
  return asked;
}

function simple(it: Case, waiting: Map<bigint, Asked>, disk: Uint8Array | undefined): void {
  const { features, said, terms } = it;
  const at = said.skip(12, "simple reply");
  const error = said.u32(at);
  const cookie = said.u64(at + 4);
  const asked = find(waiting, cookie);
  waiting.delete(cookie);
  checkError(error);
  features.add(kinds.request(asked.type, asked.flags, error));
  const dataType = asked.type === READ || asked.type === STATUS;
  if (terms.structured && (error !== 0 || dataType)) {
    throw new Error(`a simple reply with error ${error} to a request of type ${asked.type}`);
  }
  if (error !== 0 || asked.type !== READ) return;
  sameData(disk, asked.offset, said.take(asked.count, "data of a read"));
}

function checkError(error: number): void {
  if (error !== 0 && !errors.has(error)) throw new Error(`error ${error} is none of NBD's`);
}

function sameData(disk: Uint8Array | undefined, offset: bigint, data: Uint8Array): void {
  if (disk === undefined) return;
  const at = Number(offset);
  if (Buffer.compare(data, disk.subarray(at, at + data.length)) === 0) return;
  throw new Error(`the ${data.length} bytes read at ${offset} are not those of the disk`);
}

function chunk(it: Case, waiting: Map<bigint, Asked>, disk: Uint8Array | undefined): void {
  const { features, said } = it;
  const at = said.skip(16, "structured reply");
  const done = said.u16(at) === 1;
  const type = said.u16(at + 2);
  const cookie = said.u64(at + 4);
  const asked = find(waiting, cookie);
  if (done) waiting.delete(cookie);
  if (said.u16(at) > 1) throw new Error("unknown flags of a chunk");
  features.add(kinds.chunk(type, asked.type, asked.chunks));
  asked.chunks++;
  const start = said.skip(said.u32(at + 12), "data of a chunk");
  const length = said.at - start;
  if (type === 1 || type === 2) dataOrHole(it, asked, { start, length, hole: type === 2 }, disk);
  else if (type === 5) status(it, asked, start, length);
  else if (type === 0x8001 || type === 0x8002) failure(it, asked, { start, length, type });
  else throw new Error(`a chunk of type ${type}`);
  if (!done) return;
  if (asked.type === READ && type < 0x8000 && asked.told !== asked.count) {
    throw new Error(`${asked.told} bytes of a read of ${asked.count} were told`);
  }
}

function dataOrHole(
  { features, said }: Case,
  asked: Asked,
  {
    start,
    length,
    hole,
  }: { readonly start: number; readonly length: number; readonly hole: boolean },
  disk: Uint8Array | undefined,
): void {
  if (asked.type !== READ) throw new Error(`data for a request of type ${asked.type}`);
  const offset = said.u64(start);
  // Nothing twice, and nothing left out: our chunks come in order.
  if (offset !== asked.offset + BigInt(asked.told)) throw new Error("a chunk in the wrong place");
  if (hole && length !== 12) throw new Error("a hole of the wrong length");
  const count = hole ? said.u32(start + 8) : length - 8;
  if (count <= 0) throw new Error("an empty chunk");
  asked.told += count;
  if (asked.told > asked.count) throw new Error("more data than was asked for");
  if (hole && asked.flags & 4) throw new Error("a hole in spite of DF");
  features.add(kinds.request(READ, asked.flags, 0));
  const data = hole ? new Uint8Array(count) : said.bytes(start + 8, count);
  sameData(disk, offset, data);
}

function status(
  { features, said, terms }: Case,
  asked: Asked,
  start: number,
  length: number,
): void {
  if (asked.type !== STATUS || !terms.allocation) throw new Error("block status, unasked");
  if (said.u32(start) !== 1) throw new Error("block status of another context");
  if (length < 12 || length % 8 !== 4) throw new Error(`block status of ${length} bytes`);
  const one = (asked.flags & REQ_ONE) !== 0;
  let told = 0;
  for (let at = start + 4; at < start + length; at += 8) {
    if (told >= asked.count) throw new Error("a block that begins behind the request");
    if (said.u32(at) === 0) throw new Error("an empty block");
    if (said.u32(at + 4) > 3) throw new Error("unknown bits of block status");
    told += said.u32(at);
  }
  if (one && (length !== 12 || told > asked.count)) throw new Error("more than REQ_ONE asks for");
  features.add(kinds.request(STATUS, asked.flags, 0));
}

function failure(
  { features, said }: Case,
  asked: Asked,
  {
    start,
    length,
    type,
  }: { readonly start: number; readonly length: number; readonly type: number },
): void {
  const error = said.u32(start);
  if (error === 0) throw new Error("an error chunk without an error");
  checkError(error);
  const text = said.u16(start + 4);
  if (length !== 6 + text + (type === 0x8002 ? 8 : 0))
    throw new Error("error chunk of the wrong length");
  features.add(kinds.request(asked.type, asked.flags, error));
  if (type === 0x8001) return;
  const at = said.u64(start + 6 + text);
  if (at < asked.offset || at >= asked.offset + BigInt(asked.count)) {
    throw new Error("an error at an offset outside the request");
  }
}

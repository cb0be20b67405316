/** Parses the bytes of a client and a server into options, requests and their answers. */
import { ByteReader, CutOff } from "../byte-reader.ts";

export interface OptionReply {
  readonly type: number;
  /** Empty for errors, whose texts differ. */
  readonly data: Uint8Array;
}

export interface OptionExchange {
  readonly kind: "option";
  readonly option: number;
  readonly length: number;
  readonly payload: Uint8Array;
  /** The whole payload was sent. */
  readonly complete: boolean;
  readonly replies: readonly OptionReply[];
  /** The answer to EXPORT_NAME, which is not an option reply. */
  readonly exported: Uint8Array | undefined;
}

export interface RequestExchange {
  readonly kind: "request";
  readonly type: number;
  readonly flags: number;
  readonly offset: bigint;
  readonly count: number;
  readonly cookie: bigint;
  readonly complete: boolean;
  readonly answer: Answer | undefined;
}

export interface Answer {
  readonly error: number;
  /** "simple", or the types of the chunks. */
  readonly form: string;
  /** The data of a read, with holes as zeroes, or the payload of a block status. */
  readonly data: Uint8Array;
}

export type Exchange = OptionExchange | RequestExchange;

export interface Conversation {
  readonly greeting: Uint8Array;
  readonly clientFlags: number;
  readonly exchanges: readonly Exchange[];
  /** The cookies of complete replies, in their order. */
  readonly order: readonly bigint[];
  /** Output that belongs to no exchange. */
  readonly rest: Uint8Array;
  /** The output ends within a message. */
  readonly partial: boolean;
}

const replyMagic = 0x3e889045565a9n;
const optionMagic = 0x49484156454f5054n;
const requestMagic = 0x25609513;
const simpleMagic = 0x67446698;
const chunkMagic = 0x668e33ef;
const [ACK, FIRST_ERROR] = [1, 0x80000000] as const;

export function parseConversation(
  sentBytes: Uint8Array,
  outputBytes: Uint8Array,
  oldstyle: boolean,
): Conversation {
  const sent = new ByteReader(sentBytes, true);
  const output = new ByteReader(outputBytes, true);
  const exchanges: Exchange[] = [];
  const order: bigint[] = [];
  let greeting = new Uint8Array(0);
  let clientFlags = 0;
  let partial = false;
  try {
    greeting = output.take(oldstyle ? 152 : 18, "greeting").slice();
    if (!oldstyle && sent.left >= 4) clientFlags = sent.u32(sent.skip(4, "flags"));
    if (oldstyle || negotiated(sent, output, clientFlags, exchanges))
      requests(sent, output, exchanges, order);
  } catch (error) {
    if (!(error instanceof CutOff)) throw error;
    partial = true;
  }
  return {
    greeting,
    clientFlags,
    exchanges,
    order,
    rest: output.bytes(output.at, output.left),
    partial,
  };
}

/** Whether a complete option or request has no complete answer yet. */
export function isWaiting({ exchanges, partial }: Conversation): boolean {
  if (partial) return true;
  return exchanges.some((one) => {
    if (!one.complete) return false;
    if (one.kind === "request") return one.answer === undefined;
    if (one.option === 1) return one.exported === undefined;
    const last = one.replies.at(-1)?.type ?? 0;
    return last !== ACK && last < FIRST_ERROR;
  });
}

/** Parse the options. Returns whether the client got as far as requests. */
function negotiated(
  sent: ByteReader,
  output: ByteReader,
  clientFlags: number,
  exchanges: Exchange[],
): boolean {
  while (sent.left >= 16) {
    const at = sent.skip(16, "option");
    if (sent.u64(at) !== optionMagic) return false;
    const option = sent.u32(at + 8);
    const length = sent.u32(at + 12);
    const complete = sent.left >= length;
    const payload = sent.take(Math.min(length, sent.left), "payload");
    const replies = option === 1 ? [] : optionReplies(output, option);
    let exported: Uint8Array | undefined;
    if (option === 1 && output.left > 0) {
      exported = output.take((clientFlags & 2) === 0 ? 134 : 10, "answer to EXPORT_NAME");
    }
    exchanges.push({ kind: "option", option, length, payload, complete, replies, exported });
    if (exported !== undefined) return true;
    if (option === 7 && replies.at(-1)?.type === ACK) return true;
  }
  return false;
}

function optionReplies(output: ByteReader, option: number): OptionReply[] {
  const replies: OptionReply[] = [];
  while (
    output.left >= 20 &&
    output.u64(output.at) === replyMagic &&
    output.u32(output.at + 8) === option
  ) {
    const at = output.skip(20, "reply");
    const type = output.u32(at + 12);
    const data = output.take(output.u32(at + 16), "data of a reply");
    replies.push({ type, data: type >= FIRST_ERROR ? new Uint8Array(0) : data });
    if (type === ACK || type >= FIRST_ERROR) break;
  }
  return replies;
}

type Open = Omit<RequestExchange, "answer"> & { answer: Answer | undefined; parts: Part[] };

interface Part {
  readonly type: number;
  readonly data: Uint8Array;
}

function requests(
  sent: ByteReader,
  output: ByteReader,
  exchanges: Exchange[],
  order: bigint[],
): void {
  const open: Open[] = [];
  const byCookie = new Map<bigint, Open[]>();
  while (sent.left >= 28) {
    const at = sent.skip(28, "request");
    if (sent.u32(at) !== requestMagic) break;
    const type = sent.u16(at + 6);
    const count = sent.u32(at + 24);
    const cookie = sent.u64(at + 8);
    const payload = type === 1 ? count : 0;
    const complete = sent.left >= payload;
    sent.skip(Math.min(payload, sent.left), "payload");
    const fields = { type, flags: sent.u16(at + 4), offset: sent.u64(at + 16), count, cookie };
    const one: Open = { kind: "request", ...fields, complete, answer: undefined, parts: [] };
    if (type === 2) break;
    open.push(one);
    const same = byCookie.get(cookie);
    if (same === undefined) byCookie.set(cookie, [one]);
    else same.push(one);
  }
  exchanges.push(...open);
  while (output.left >= 4) {
    const from = output.at;
    const cookie = oneReply(output, (it) =>
      byCookie.get(it)?.find((one) => one.answer === undefined),
    );
    if (cookie === "unknown") {
      output.at = from;
      return;
    }
    if (cookie !== undefined) order.push(cookie);
  }
}

/** Parse one reply or chunk. Returns the cookie if it completes an answer. Leaves a partial one unread. */
function oneReply(
  output: ByteReader,
  find: (cookie: bigint) => Open | undefined,
): bigint | undefined | "unknown" {
  const from = output.at;
  try {
    const magic = output.u32(output.skip(4, "magic"));
    if (magic === simpleMagic) return simple(output, find);
    if (magic === chunkMagic) return chunk(output, find);
    return "unknown";
  } catch (error) {
    output.at = from;
    throw error;
  }
}

function simple(
  output: ByteReader,
  find: (cookie: bigint) => Open | undefined,
): bigint | "unknown" {
  const at = output.skip(12, "simple reply");
  const error = output.u32(at);
  const cookie = output.u64(at + 4);
  const one = find(cookie);
  if (one === undefined) return "unknown";
  const bytes = one.type === 0 && error === 0 ? one.count : 0;
  one.answer = { error, form: "simple", data: output.take(bytes, "data of a read") };
  return cookie;
}

function chunk(
  output: ByteReader,
  find: (cookie: bigint) => Open | undefined,
): bigint | undefined | "unknown" {
  const at = output.skip(16, "chunk");
  const type = output.u16(at + 2);
  const cookie = output.u64(at + 4);
  const data = output.take(output.u32(at + 12), "data of a chunk");
  const one = find(cookie);
  if (one === undefined) return "unknown";
  one.parts.push({ type, data });
  if ((output.u16(at) & 1) === 0) return undefined;
  one.answer = answerOf(one);
  return cookie;
}

function answerOf({ parts, offset, count }: Open): Answer {
  const form = parts.map(({ type }) => type.toString(16)).join(" ");
  let data: Uint8Array = new Uint8Array(0);
  let error = 0;
  if (parts.some(({ type }) => type === 1 || type === 2)) data = new Uint8Array(count);
  for (const part of parts) {
    const view = new DataView(part.data.buffer, part.data.byteOffset, part.data.length);
    if (part.type === 1) data.set(part.data.subarray(8), Number(view.getBigUint64(0) - offset));
    else if (part.type >= 0x8000) error = view.getUint32(0);
    else if (part.type === 5) data = part.data;
  }
  return { error, form, data };
}

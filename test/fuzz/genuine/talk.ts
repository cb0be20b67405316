/** What a client asked and what it was answered, piece by piece, out of the bytes of both. */
import { CutOff, Said } from "../said.ts";

export interface OptionReply {
  readonly type: number;
  /** Without the text of errors. */
  readonly data: Uint8Array;
}

export interface OptionAsked {
  readonly kind: "option";
  readonly option: number;
  readonly length: number;
  readonly payload: Uint8Array;
  /** The whole payload was sent. */
  readonly complete: boolean;
  readonly replies: readonly OptionReply[];
  /** What EXPORT_NAME is answered with, which is no option's reply. */
  readonly exported: Uint8Array | undefined;
}

export interface RequestAsked {
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
  /** What was read, or the payload of a block status; holes as zeroes. */
  readonly data: Uint8Array;
}

export type Asked = OptionAsked | RequestAsked;

export interface Talk {
  readonly greeting: Uint8Array;
  readonly clientFlags: number;
  readonly asked: readonly Asked[];
  /** The cookies of complete replies, in their order. */
  readonly order: readonly bigint[];
  /** What was said beside that. */
  readonly rest: Uint8Array;
  /** Something has begun to be said. */
  readonly partial: boolean;
}

const replyMagic = 0x3e889045565a9n;
const optionMagic = 0x49484156454f5054n;
const requestMagic = 0x25609513;
const simpleMagic = 0x67446698;
const chunkMagic = 0x668e33ef;
const [ACK, FIRST_ERROR] = [1, 0x80000000] as const;

export function talk(sentBytes: Uint8Array, saidBytes: Uint8Array, oldstyle: boolean): Talk {
  const sent = new Said(sentBytes, true);
  const said = new Said(saidBytes, true);
  const asked: Asked[] = [];
  const order: bigint[] = [];
  let greeting = new Uint8Array(0);
  let clientFlags = 0;
  let partial = false;
  try {
    greeting = said.take(oldstyle ? 152 : 18, "greeting").slice();
    if (!oldstyle && sent.left >= 4) clientFlags = sent.u32(sent.skip(4, "flags"));
    if (oldstyle || negotiated(sent, said, clientFlags, asked)) requests(sent, said, asked, order);
  } catch (error) {
    if (!(error instanceof CutOff)) throw error;
    partial = true;
  }
  return { greeting, clientFlags, asked, order, rest: said.bytes(said.at, said.left), partial };
}

/** Whether something that was sent has no complete answer yet. */
export function waits({ asked, partial }: Talk): boolean {
  if (partial) return true;
  return asked.some((one) => {
    if (!one.complete) return false;
    if (one.kind === "request") return one.answer === undefined;
    if (one.option === 1) return one.exported === undefined;
    const last = one.replies.at(-1)?.type ?? 0;
    return last !== ACK && last < FIRST_ERROR;
  });
}

/** Whether the client got as far as requests. */
function negotiated(sent: Said, said: Said, clientFlags: number, asked: Asked[]): boolean {
  while (sent.left >= 16) {
    const at = sent.skip(16, "option");
    if (sent.u64(at) !== optionMagic) return false;
    const option = sent.u32(at + 8);
    const length = sent.u32(at + 12);
    const complete = sent.left >= length;
    const payload = sent.take(Math.min(length, sent.left), "payload");
    const replies = option === 1 ? [] : optionReplies(said, option);
    let exported: Uint8Array | undefined;
    if (option === 1 && said.left > 0) {
      exported = said.take((clientFlags & 2) === 0 ? 134 : 10, "answer to EXPORT_NAME");
    }
    asked.push({ kind: "option", option, length, payload, complete, replies, exported });
    if (exported !== undefined) return true;
    if (option === 7 && replies.at(-1)?.type === ACK) return true;
  }
  return false;
}

function optionReplies(said: Said, option: number): OptionReply[] {
  const replies: OptionReply[] = [];
  while (said.left >= 20 && said.u64(said.at) === replyMagic && said.u32(said.at + 8) === option) {
    const at = said.skip(20, "reply");
    const type = said.u32(at + 12);
    const data = said.take(said.u32(at + 16), "data of a reply");
    replies.push({ type, data: type >= FIRST_ERROR ? new Uint8Array(0) : data });
    if (type === ACK || type >= FIRST_ERROR) break;
  }
  return replies;
}

type Open = Omit<RequestAsked, "answer"> & { answer: Answer | undefined; parts: Part[] };

interface Part {
  readonly type: number;
  readonly data: Uint8Array;
}

function requests(sent: Said, said: Said, asked: Asked[], order: bigint[]): void {
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
  asked.push(...open);
  while (said.left >= 4) {
    const from = said.at;
    const cookie = oneReply(said, (it) =>
      byCookie.get(it)?.find((one) => one.answer === undefined),
    );
    if (cookie === "unknown") {
      said.at = from;
      return;
    }
    if (cookie !== undefined) order.push(cookie);
  }
}

/** The cookie of a reply that is complete now. What is cut off is left where it is. */
function oneReply(
  said: Said,
  find: (cookie: bigint) => Open | undefined,
): bigint | undefined | "unknown" {
  const from = said.at;
  try {
    const magic = said.u32(said.skip(4, "magic"));
    if (magic === simpleMagic) return simple(said, find);
    if (magic === chunkMagic) return chunk(said, find);
    return "unknown";
  } catch (error) {
    said.at = from;
    throw error;
  }
}

function simple(said: Said, find: (cookie: bigint) => Open | undefined): bigint | "unknown" {
  const at = said.skip(12, "simple reply");
  const error = said.u32(at);
  const cookie = said.u64(at + 4);
  const one = find(cookie);
  if (one === undefined) return "unknown";
  const bytes = one.type === 0 && error === 0 ? one.count : 0;
  one.answer = { error, form: "simple", data: said.take(bytes, "data of a read") };
  return cookie;
}

function chunk(
  said: Said,
  find: (cookie: bigint) => Open | undefined,
): bigint | undefined | "unknown" {
  const at = said.skip(16, "chunk");
  const type = said.u16(at + 2);
  const cookie = said.u64(at + 4);
  const data = said.take(said.u32(at + 12), "data of a chunk");
  const one = find(cookie);
  if (one === undefined) return "unknown";
  one.parts.push({ type, data });
  if ((said.u16(at) & 1) === 0) return undefined;
  one.answer = answerOf(one);
  return cookie;
}

function answerOf({ parts, offset, count }: Open): Answer {
  const form = parts.map(({ type }) => type.toString(16)).join(" ");
  let data: Uint8Array = new Uint8Array(0);
  let error = 0;
  const told = parts.some(({ type }) => type === 1 || type === 2);
  if (told) data = new Uint8Array(count);
  for (const part of parts) {
    const view = new DataView(part.data.buffer, part.data.byteOffset, part.data.length);
    if (part.type === 1) data.set(part.data.subarray(8), Number(view.getBigUint64(0) - offset));
    else if (part.type >= 0x8000) error = view.getUint32(0);
    else if (part.type === 5) data = part.data;
  }
  return { error, form, data };
}

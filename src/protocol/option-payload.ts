/** Parses the payloads of options: export names and queries. */
import { textOf } from "../lib/text-bytes.ts";
import { MAX_STRING_BYTES } from "./constants.ts";

/** The longest valid payload of INFO and GO: a name, and the most info requests that fit a u16 count. */
export const MAX_INFO_BYTES = 4 + MAX_STRING_BYTES + 2 + 2 * 0xffff;

export interface InfoRequest {
  /** The name in the client's bytes. */
  readonly rawName: Uint8Array;
  readonly name: string;
  readonly infos: ReadonlySet<number>;
}

/** Returns a message if the payload is invalid. */
export function parseInfo(data: Uint8Array): InfoRequest | string {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  if (data.length < 6) return `its payload has ${data.length} bytes, fewer than 6`;
  const nameLength = view.getUint32(0);
  if (nameLength > MAX_STRING_BYTES) {
    return `its export name has ${nameLength} bytes, more than ${MAX_STRING_BYTES}`;
  }
  if (data.length < 4 + nameLength + 2) {
    return `its export name has ${nameLength} bytes, but its payload only ${data.length}`;
  }
  const count = view.getUint16(4 + nameLength);
  const expected = 4 + nameLength + 2 + 2 * count;
  if (data.length !== expected) {
    return `its payload has ${data.length} bytes, but ${count} information requests need ${expected}`;
  }
  const rawName = data.subarray(4, 4 + nameLength);
  const name = parseName(rawName);
  if (name === undefined) return "its export name contains a zero byte";
  const infos = new Set<number>();
  for (let i = 0; i < count; i++) infos.add(view.getUint16(4 + nameLength + 2 + 2 * i));
  return { rawName, name, infos };
}

/** The payload of LIST_META_CONTEXT and SET_META_CONTEXT. */
export interface MetaRequest {
  readonly rawName: Uint8Array;
  readonly queries: readonly string[];
}

/** Returns a message if the payload is invalid. */
export function parseMeta(data: Uint8Array): MetaRequest | string {
  const strings = new Strings(data);
  const rawName = strings.next("export name");
  if (typeof rawName === "string") return rawName;
  const count = strings.number();
  if (count === undefined) return "its payload ends before the number of queries";
  const queries: string[] = [];
  for (let i = 0; i < count; i++) {
    const query = strings.next("query");
    if (typeof query === "string") return query;
    queries.push(textOf(query));
  }
  if (strings.left > 0) return `its payload has ${strings.left} bytes after ${count} queries`;
  return { rawName, queries };
}

/** Takes length-prefixed strings from a payload, one after the other. */
class Strings {
  readonly #data: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(data: Uint8Array) {
    this.#data = data;
    this.#view = new DataView(data.buffer, data.byteOffset, data.length);
  }

  get left(): number {
    return this.#data.length - this.#at;
  }

  number(): number | undefined {
    if (this.left < 4) return undefined;
    this.#at += 4;
    return this.#view.getUint32(this.#at - 4);
  }

  /** The bytes of the next string. Returns a message if it is invalid. */
  next(what: string): Uint8Array | string {
    const length = this.number();
    if (length === undefined) return `its payload ends before the length of its ${what}`;
    if (length > MAX_STRING_BYTES) {
      return `its ${what} has ${length} bytes, more than ${MAX_STRING_BYTES}`;
    }
    if (length > this.left) return `its ${what} has ${length} bytes, but only ${this.left} follow`;
    const bytes = this.#data.subarray(this.#at, this.#at + length);
    this.#at += length;
    return bytes.includes(0) ? `its ${what} contains a zero byte` : bytes;
  }
}

/** The export name, or undefined if C could not hold it. */
export function parseName(raw: Uint8Array): string | undefined {
  return raw.includes(0) ? undefined : textOf(raw);
}

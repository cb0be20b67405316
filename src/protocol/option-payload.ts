/** Reads the payloads of options: the name of EXPORT_NAME, the name and questions of INFO and GO. */
import { MAX_STRING_BYTES } from "./constants.ts";

/** The longest well-formed payload of INFO and GO: a name, and as many questions as u16 can count. */
export const MAX_INFO_BYTES = 4 + MAX_STRING_BYTES + 2 + 2 * 0xffff;

export interface InfoRequest {
  /** As the client sent it: the encoding of names is not checked. */
  readonly rawName: Uint8Array;
  readonly name: string;
  readonly infos: ReadonlySet<number>;
}

/** What is wrong with the payload, or what it says. */
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

/** The export's name, or undefined where C could not hold it. */
export function parseName(raw: Uint8Array): string | undefined {
  return raw.includes(0) ? undefined : new TextDecoder("utf-8", { ignoreBOM: true }).decode(raw);
}

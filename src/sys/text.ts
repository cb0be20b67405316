/** Strings for C and from C, byte by byte where they are not UTF-8: #lib/text-bytes says how. */
import { CString, type Pointer, ptr, read } from "bun:ffi";

import { bytesOf, textOf } from "../lib/text-bytes.ts";
import { fixed } from "./call.ts";

/** What a `cstring` argument takes: bytes need a zero byte of their own. */
export function cString(text: string): string | Uint8Array {
  return text.isWellFormed() ? text : cBytes(text);
}

/** The same for a `ptr` argument. Its memory does not move. */
export function cBytes(text: string): Uint8Array {
  const bytes = bytesOf(text);
  const terminated = fixed(Uint8Array, bytes.length + 1);
  terminated.set(bytes);
  return terminated;
}

/** What is pointed to is held as long as the list. */
const held = new WeakMap<BigUint64Array, readonly Uint8Array[]>();

/** A `char **` that ends with NULL. Its memory does not move. */
export function cStrings(words: readonly string[]): BigUint64Array {
  const texts = words.map(cBytes);
  const list = fixed(BigUint64Array, words.length + 1);
  for (const [index, text] of texts.entries()) list[index] = BigInt(ptr(text));
  held.set(list, texts);
  return list;
}

/** A copy of the C string at `address`, which is not NULL. */
export function textAt(address: Pointer | bigint): string {
  // Addresses of the user half are safe integers, so not the bigints of the type.
  const pointer = address as Pointer;
  const text = new CString(pointer).toString();
  return text.includes("\ufffd") ? textOf(bytesAt(pointer)) : text;
}

/** What was replaced by U+FFFD, or was that character, has to be read once more. */
function bytesAt(pointer: Pointer): Uint8Array {
  const bytes: number[] = [];
  for (let at = 0; ; at++) {
    const byte = read.u8(pointer, at);
    if (byte === 0) return Uint8Array.from(bytes);
    bytes.push(byte);
  }
}

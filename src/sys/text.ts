/** Strings for C and from C. Those that are not UTF-8 keep their bytes, as #lib/text-bytes describes. */
import { CString, type Pointer, ptr, read } from "bun:ffi";

import { bytesOf, textOf } from "../lib/text-bytes.ts";
import { fixed } from "./call.ts";

/** The text for a `cstring` argument. */
export function cString(text: string): string | Uint8Array {
  return text.isWellFormed() ? text : cBytes(text);
}

/** The text for a `ptr` argument: bytes that end with a zero, in memory that does not move. */
export function cBytes(text: string): Uint8Array {
  const bytes = bytesOf(text);
  const terminated = fixed(Uint8Array, bytes.length + 1);
  terminated.set(bytes);
  return terminated;
}

/** Keeps the strings of a list as long as the list. */
const held = new WeakMap<BigUint64Array, readonly Uint8Array[]>();

/** A `char **` that ends with NULL. Its memory does not move. */
export function cStrings(words: readonly string[]): BigUint64Array {
  const texts = words.map(cBytes);
  const list = fixed(BigUint64Array, words.length + 1);
  for (const [index, text] of texts.entries()) list[index] = BigInt(ptr(text));
  held.set(list, texts);
  return list;
}

/** A copy of the C string at `address`, which must not be NULL. */
export function textAt(address: Pointer | bigint): string {
  // Addresses of user space are safe integers, so Bun returns numbers, never the bigints of the type.
  const pointer = address as Pointer;
  const text = new CString(pointer).toString();
  return text.includes("\ufffd") ? textOf(bytesAt(pointer)) : text;
}

/** The bytes of a C string. CString replaces bytes that are not UTF-8 by U+FFFD. */
function bytesAt(pointer: Pointer): Uint8Array {
  const bytes: number[] = [];
  for (let at = 0; ; at++) {
    const byte = read.u8(pointer, at);
    if (byte === 0) return Uint8Array.from(bytes);
    bytes.push(byte);
  }
}

/** Reads memory through pointers of a module, without a crash if they are wrong. */
import { type Pointer, toArrayBuffer } from "bun:ffi";
import { openSync, readSync } from "node:fs";

import { textOf } from "#lib/text-bytes";

import { longestTextBytes } from "./limits.ts";

let memory: number | undefined;

/** This process's memory as a file. Undefined without /proc: then reads are not checked. */
function memoryFile(): number | undefined {
  if (memory === undefined) {
    try {
      memory = openSync("/proc/self/mem", "r");
    } catch {
      memory = -1;
    }
  }
  return memory === -1 ? undefined : memory;
}

/** A copy of `count` bytes at `address`. Undefined if some of them cannot be read. */
export function copyMemory(address: number, count: number): Uint8Array | undefined {
  const file = memoryFile();
  if (file === undefined) {
    return new Uint8Array(toArrayBuffer(address as Pointer, 0, count)).slice();
  }
  const bytes = new Uint8Array(count);
  try {
    return readSync(file, bytes, 0, count, address) === count ? bytes : undefined;
  } catch {
    // EIO: nothing is mapped there.
    return undefined;
  }
}

const page = 4096;

/** The C string at `address`. Undefined if its bytes cannot be read. */
export function copyText(address: number): string | undefined {
  const parts: Uint8Array[] = [];
  for (let at = address; at < address + longestTextBytes;) {
    const count = page - (at % page);
    const part = copyMemory(at, count);
    if (part === undefined) return undefined;
    const end = part.indexOf(0);
    parts.push(end < 0 ? part : part.subarray(0, end));
    if (end >= 0) return textOf(Buffer.concat(parts));
    at += count;
  }
  return undefined;
}

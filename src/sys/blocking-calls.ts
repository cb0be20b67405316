/** The system calls that run on other threads, since they may wait for a disk or a server, by their names. */
import { type Pointer, toArrayBuffer } from "bun:ffi";

import * as libc from "./libc.ts";

/** The calling thread keeps this memory until the call has returned. */
function memoryAt(address: number, count: number): Uint8Array {
  // The cast is correct: the calling thread made the number from a pointer.
  return new Uint8Array(toArrayBuffer(address as Pointer, 0, count));
}

/** Each returns the call's result, or the negated errno. */
const blockingCalls = {
  pread: (fd: number, address: number, count: number, offset: bigint) =>
    libc.pread(fd, memoryAt(address, count), offset),
  pwrite: (fd: number, address: number, count: number, offset: bigint) =>
    libc.pwrite(fd, memoryAt(address, count), offset),
  fdatasync: libc.fdatasync,
  fallocate: libc.fallocate,
  fadvise: libc.fadvise,
  seek: libc.seek,
  deviceRange: libc.deviceRange,
  close: libc.close,
} as const;

export type BlockingCalls = typeof blockingCalls;
export type BlockingCall = keyof BlockingCalls;

/** The message to a thread: the call and its arguments. */
export type Order = readonly [BlockingCall, ...unknown[]];

export function perform([call, ...args]: Order): number | bigint {
  // The cast is correct: only `onThread` and `transferOnThread` make orders, and their types are those of the calls.
  const go = blockingCalls[call] as (...all: readonly unknown[]) => number | bigint;
  return go(...args);
}

/** System calls that may wait for a disk or a server, by the names that other threads are asked for them with. */
import { type Pointer, toArrayBuffer } from "bun:ffi";

import * as libc from "./libc.ts";

/** Memory that the thread which asks keeps as it is until the call has returned. */
function memoryAt(address: number, count: number): Uint8Array {
  // The cast is true: it was a pointer there.
  return new Uint8Array(toArrayBuffer(address as Pointer, 0, count));
}

/** Each returns what the call does, or the negated errno. */
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

/** What is sent to a thread: the call and its arguments. */
export type Order = readonly [BlockingCall, ...unknown[]];

export function perform([call, ...args]: Order): number | bigint {
  // The cast is true: orders are made by `onThread`, whose types are those of the calls.
  const go = blockingCalls[call] as (...all: readonly unknown[]) => number | bigint;
  return go(...args);
}

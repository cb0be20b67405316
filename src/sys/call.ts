/** How libc is called: functions that are loaded at their first use, errno, signals, and memory that does not move. */
import { dlopen, type FFIFunction, type Pointer, read } from "bun:ffi";

import { errnoName, errnos } from "../lib/errno.ts";
import { symbols } from "./generated/libc.gen.ts";

type Rows = typeof symbols;
type Libc = ReturnType<typeof dlopen<Rows>>["symbols"];

/**
 * glibc is always loaded under this name, and musl takes the name for its own. Where a library is not there, the dlopen
 * of bun:ffi looks in the current folder, which may be another user's: so no other name is tried.
 */
const libcName = "libc.so.6";

/**
 * Functions of libc. They are loaded by the first call of the result. Each call throws if libc lacks one of them.
 * Nothing is loaded between a later call and a look at its errno.
 */
export function callsOf<K extends keyof Rows>(...names: readonly K[]): () => Pick<Libc, K> {
  let loaded: Pick<Libc, K> | undefined;
  let failure: unknown;
  return () => {
    if (loaded !== undefined) return loaded;
    if (failure !== undefined) throw failure;
    try {
      errnoAt ??= errnoAddress();
      return (loaded = openLibc(names));
    } catch (error) {
      failure = error;
      throw error;
    }
  };
}

function openLibc<K extends keyof Rows>(names: readonly K[]): Pick<Libc, K> {
  const rows: Record<string, FFIFunction> = Object.fromEntries(
    names.map((name) => [name, symbols[name]]),
  );
  try {
    // The cast is correct: these are the rows of those names.
    return dlopen(libcName, rows).symbols as Pick<Libc, K>;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(
      reason.includes("JIT")
        ? "Bun cannot call libc, as it gets no memory that may be both written and executed: " +
            "expected MemoryDenyWriteExecute=no of systemd, and 4000000 of ulimit -v and -d or more"
        : `cannot load libc (${libcName}): ${reason}`,
      { cause: error },
    );
  }
}

/** A thread keeps its errno at one address, and each Worker loads this module anew. */
let errnoAt: Pointer | undefined;

function errnoAddress(): Pointer {
  const address = openLibc(["__errno_location"])["__errno_location"]();
  if (address === null) throw new Error("libc has no __errno_location");
  // Addresses of the user half are safe integers, so not the bigints of the type.
  return address as Pointer;
}

/** The errno of the call that this thread just made. */
export function lastErrno(): number {
  errnoAt ??= errnoAddress();
  return read.i32(errnoAt, 0);
}

/** What a call returned if that is 0 or more, else the negated errno. */
export function orErrno(result: number | bigint): number {
  const number = Number(result);
  return number >= 0 ? number : -lastErrno();
}

/** What `orErrno` returns for a call that a signal interrupted, which is to be made again. */
export const interrupted = -errnos.EINTR;

/** Make a call until no signal interrupts it. Returns 0 or more, or the negated errno. Hot calls loop by themselves. */
export function uninterrupted(call: () => number | bigint): number {
  for (;;) {
    const result = orErrno(call());
    if (result !== interrupted) return result;
  }
}

/** The error of `call`, which just failed, as node makes them: with the errno's name in `code`. */
export function systemError(call: string, errno = lastErrno()): Error & { readonly code: string } {
  const code = errnoName(errno);
  return Object.assign(new Error(`${call}: ${code}`), { code, errno });
}

/** The result of `call`. Throws its error if that is -1. */
export function checked(call: string, result: number): number {
  if (result === -1) throw systemError(call);
  return result;
}

/**
 * A typed array of so many elements whose memory never moves, so that its address may be kept. Small arrays lie in the
 * collector's heap unless they have an ArrayBuffer of their own.
 */
export function fixed<A>(
  type: { new (memory: ArrayBuffer): A; readonly BYTES_PER_ELEMENT: number },
  length: number,
): A {
  return new type(new ArrayBuffer(length * type.BYTES_PER_ELEMENT));
}

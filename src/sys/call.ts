/** Calls libc: loads functions at their first use, and handles errno, interrupting signals and memory for C. */
import { dlopen, type FFIFunction, type Pointer, read } from "bun:ffi";

import { errnoName, errnos, errnoText } from "../lib/errno.ts";
import { symbols } from "./generated/libc.gen.ts";

type Rows = typeof symbols;
type Libc = ReturnType<typeof dlopen<Rows>>["symbols"];

/**
 * glibc is always loaded under this name, and musl accepts the name for itself. If a library is missing, the dlopen of
 * bun:ffi looks in the current folder, which may belong to another user. So try no other name.
 */
const libcName = "libc.so.6";

/**
 * Functions of libc. The first call of the result loads them; each call throws if libc lacks one of them. Later calls
 * load nothing, so they leave the errno of a libc call as it is.
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
  // Addresses of user space are safe integers, so Bun returns numbers, never the bigints of the type.
  return address as Pointer;
}

/** The errno of the last call on this thread. */
export function lastErrno(): number {
  errnoAt ??= errnoAddress();
  return read.i32(errnoAt, 0);
}

/** The result of a call if it is 0 or more, else the negated errno. */
export function orErrno(result: number | bigint): number {
  const number = Number(result);
  return number >= 0 ? number : -lastErrno();
}

/** What `orErrno` returns for a call that a signal interrupted. The caller repeats it. */
export const interrupted = -errnos.EINTR;

/** Repeat a call until no signal interrupts it. Returns 0 or more, or the negated errno. Hot calls loop themselves. */
export function uninterrupted(call: () => number | bigint): number {
  for (;;) {
    const result = orErrno(call());
    if (result !== interrupted) return result;
  }
}

/** The error of `call`, which just failed, in node's form: `code` is the errno's name. */
export function systemError(call: string, errno = lastErrno()): Error & { readonly code: string } {
  const code = errnoName(errno);
  return Object.assign(new Error(`${call}: ${errnoText(code)}`), { code, errno });
}

/** The result of `call`. Throws the call's error if it is -1. */
export function checked(call: string, result: number): number {
  if (result === -1) throw systemError(call);
  return result;
}

/**
 * A typed array whose memory never moves, so that C may keep its address. Small arrays are in the collector's heap
 * unless they have an ArrayBuffer of their own.
 */
export function fixed<A>(
  type: { new (memory: ArrayBuffer): A; readonly BYTES_PER_ELEMENT: number },
  length: number,
): A {
  return new type(new ArrayBuffer(length * type.BYTES_PER_ELEMENT));
}

/** The functions of GnuTLS that TLS needs, loaded when they are first asked for, and kept. */
import { CFunction, type Pointer, ptr, read, toArrayBuffer } from "bun:ffi";

import { textOf } from "../../lib/text-bytes.ts";
import { messageOf } from "../../lib/thrown.ts";
import { callsOf, fixed } from "../call.ts";
import * as groups from "../generated/gnutls-groups.gen.ts";
import { offsetOf, sizeOf, symbols } from "../generated/gnutls.gen.ts";
import { RTLD_NOW, symbols as libcRows } from "../generated/libc.gen.ts";
import { openSystemLibrary } from "../system-library.ts";
import { cBytes, textAt } from "../text.ts";

/** The library's name since 2013. */
export const libraryName = "libgnutls.so.30";

const libc = callsOf("dlopen", "dlsym", "memcpy");

function load() {
  const tls = openSystemLibrary(libraryName, symbols);
  const c = libc();
  return { tls, c, free: freeOf(c) };
}

/**
 * Frees what GnuTLS has allocated: a pointer that it exports. libc's own function is a different one if a user put
 * another allocator in front of it.
 */
function freeOf({ dlopen: open, dlsym }: ReturnType<typeof libc>) {
  const variable = dlsym(open(cBytes(libraryName), RTLD_NOW), cBytes("gnutls_free"));
  if (variable === null) throw new Error("it exports no gnutls_free");
  const address = read.ptr(variable as Pointer, 0) as Pointer;
  return CFunction({ ptr: address, ...libcRows.free });
}

/** GnuTLS, and what libc has to do with its memory. */
export type Library = ReturnType<typeof load>;

let loaded: Library | undefined;

/** GnuTLS. Throws where it is not installed. */
export function library(): Library {
  return (loaded ??= load());
}

/** What GnuTLS 3.6.0 and later know of groups for the exchange of keys; undefined where it is older. */
export function groupLibrary() {
  try {
    return openSystemLibrary(libraryName, groups.symbols);
  } catch {
    return undefined;
  }
}

/** Why TLS cannot be used on this machine, or undefined where it can. */
export function whyNoTls(): string | undefined {
  try {
    library();
    return undefined;
  } catch (error) {
    const reason = messageOf(error);
    return `the library GnuTLS cannot be loaded (${libraryName}): ${reason}`;
  }
}

/** What GnuTLS calls an error. */
export function errorText(code: number): string {
  const text = library().tls.gnutls_strerror(code);
  return text === null ? `error ${code}` : textAt(text).replace(/\.$/, "");
}

const datumWords = sizeOf.gnutls_datum_t / BigUint64Array.BYTES_PER_ELEMENT;
const dataWord = offsetOf.gnutls_datum_t.data / BigUint64Array.BYTES_PER_ELEMENT;
const sizeWord = offsetOf.gnutls_datum_t.size / BigUint64Array.BYTES_PER_ELEMENT;

/** A pointer, or a gnutls_datum_t, that a function stores where it is told to. */
export class Out {
  readonly #memory = fixed(BigUint64Array, datumWords);

  get address(): Pointer {
    return ptr(this.#memory);
  }

  get value(): Pointer {
    return Number(this.#memory[0] ?? 0n) as Pointer;
  }

  /** A gnutls_datum_t that GnuTLS allocated, as text; its memory is freed. */
  takeText(): string {
    const data = this.#memory[dataWord] ?? 0n;
    const size = this.#memory[sizeWord] ?? 0n;
    if (data === 0n) return "";
    const length = Number(size & 0xffff_ffffn);
    // No view has a length of 0.
    const text =
      length === 0 ? "" : textOf(new Uint8Array(toArrayBuffer(Number(data) as Pointer, 0, length)));
    library().free(Number(data) as Pointer);
    return text;
  }
}

/** Bytes as a gnutls_datum_t, to be passed as an argument while this is referenced. */
export class Datum {
  readonly #bytes: Uint8Array;
  readonly #struct = fixed(BigUint64Array, datumWords);

  constructor(bytes: Uint8Array) {
    // With a zero after it, for parsers that take it as a string.
    this.#bytes = fixed(Uint8Array, bytes.length + 1);
    this.#bytes.set(bytes);
    this.#struct[dataWord] = BigInt(ptr(this.#bytes));
    this.#struct[sizeWord] = BigInt(bytes.length);
  }

  get address(): Pointer {
    return ptr(this.#struct);
  }
}

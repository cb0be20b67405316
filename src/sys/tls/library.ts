/** Loads the functions of GnuTLS at the first use. */
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
 * The function that frees GnuTLS's memory, by the pointer that GnuTLS exports. If a user has preloaded another
 * allocator, libc's `free` is the wrong one.
 */
function freeOf({ dlopen: open, dlsym }: ReturnType<typeof libc>) {
  const variable = dlsym(open(cBytes(libraryName), RTLD_NOW), cBytes("gnutls_free"));
  if (variable === null) throw new Error("it exports no gnutls_free");
  const address = read.ptr(variable as Pointer, 0) as Pointer;
  return CFunction({ ptr: address, ...libcRows.free });
}

/** GnuTLS, and the functions of libc for its memory. */
export type Library = ReturnType<typeof load>;

let loaded: Library | undefined;

/** GnuTLS. Throws if it is not installed. */
export function library(): Library {
  return (loaded ??= load());
}

/** The functions for key exchange groups of GnuTLS 3.6.0 and later; undefined with older ones. */
export function groupLibrary() {
  try {
    return openSystemLibrary(libraryName, groups.symbols);
  } catch {
    return undefined;
  }
}

/** The reason why this machine cannot use TLS, or undefined if it can. */
export function whyNoTls(): string | undefined {
  try {
    library();
    return undefined;
  } catch (error) {
    const reason = messageOf(error);
    return `the library GnuTLS cannot be loaded (${libraryName}): ${reason}`;
  }
}

/** GnuTLS's text for an error. */
export function errorText(code: number): string {
  const text = library().tls.gnutls_strerror(code);
  return text === null ? `error ${code}` : textAt(text).replace(/\.$/, "");
}

const datumWords = sizeOf.gnutls_datum_t / BigUint64Array.BYTES_PER_ELEMENT;
const dataWord = offsetOf.gnutls_datum_t.data / BigUint64Array.BYTES_PER_ELEMENT;
const sizeWord = offsetOf.gnutls_datum_t.size / BigUint64Array.BYTES_PER_ELEMENT;

/** An out parameter: a pointer or a gnutls_datum_t that a function stores. */
export class Out {
  readonly #memory = fixed(BigUint64Array, datumWords);

  get address(): Pointer {
    return ptr(this.#memory);
  }

  get value(): Pointer {
    return Number(this.#memory[0] ?? 0n) as Pointer;
  }

  /** The text of a gnutls_datum_t that GnuTLS has allocated. Frees its memory. */
  takeText(): string {
    const data = this.#memory[dataWord] ?? 0n;
    const size = this.#memory[sizeWord] ?? 0n;
    if (data === 0n) return "";
    const length = Number(size & 0xffff_ffffn);
    // toArrayBuffer refuses a length of 0.
    const text =
      length === 0 ? "" : textOf(new Uint8Array(toArrayBuffer(Number(data) as Pointer, 0, length)));
    library().free(Number(data) as Pointer);
    return text;
  }
}

/** A gnutls_datum_t with these bytes. Its address is valid as long as this object is referenced. */
export class Datum {
  readonly #bytes: Uint8Array;
  readonly #struct = fixed(BigUint64Array, datumWords);

  constructor(bytes: Uint8Array) {
    // Some parsers need a zero at the end.
    this.#bytes = fixed(Uint8Array, bytes.length + 1);
    this.#bytes.set(bytes);
    this.#struct[dataWord] = BigInt(ptr(this.#bytes));
    this.#struct[sizeWord] = BigInt(bytes.length);
  }

  get address(): Pointer {
    return ptr(this.#struct);
  }
}

/** The ciphers, key exchanges and TLS versions that clients may use: GnuTLS's priority strings. */
import { type Pointer, ptr, read } from "bun:ffi";
import { readFileSync } from "node:fs";

import { ConfigError } from "../../lib/errors.ts";
import { quoted } from "../../lib/quoted.ts";
import { cBytes, textAt } from "../text.ts";
import { errorText, groupLibrary, library, Out } from "./library.ts";

/** The NBD protocol forbids versions below TLS 1.2, which are not safe. */
const usual = "NORMAL:-VERS-DTLS-ALL:-VERS-TLS1.1:-VERS-TLS1.0";
const keys = ":+ECDHE-PSK:+DHE-PSK:+PSK";
/**
 * With pre-shared keys, TLS 1.3 cannot use the first choice of clients, AES-256-GCM, since its hash is another one. The
 * next choice, ChaCha20, takes four times as long as AES on processors with AES instructions. In TLS 1.2, where ECDHE
 * has neither kind of AES-GCM, ChaCha20 is still better than AES-CBC. So move each of these to the end of the list.
 */
const aesFirst = ["CHACHA20-POLY1305", "AES-256-CBC", "AES-128-CBC"]
  .map((cipher) => `:-${cipher}:+${cipher}`)
  .concat(":%SERVER_PRECEDENCE")
  .join("");

/** A gnutls_priority_t, which is never freed, and its text. */
export interface Priority {
  readonly text: string;
  readonly pointer: Pointer;
}

/** `given` is the value of --tls-priority, which is used unchanged. Throws ConfigError if GnuTLS refuses it. */
export function priorityFor(kind: "certificates" | "keys", given: string | undefined): Priority {
  if (given !== undefined) {
    const result = parse(given);
    if (typeof result !== "string") return { text: given, pointer: result };
    throw new ConfigError(
      `option --tls-priority: ${quoted(given)}: ${result}: expected a priority string of GnuTLS, such as NORMAL`,
    );
  }
  const base = kind === "certificates" ? usual : usual + keys + (knowsAes() ? aesFirst : "");
  const { all, normal, signatures } = algorithms();
  const text = base + postQuantum({ all, normal, signatures }, isKnown);
  const result = parse(text);
  if (typeof result !== "string") return { text, pointer: result };
  throw new ConfigError(`the TLS priorities ${text}: ${result}`);
}

/** Names of algorithms of this GnuTLS. */
export interface Algorithms {
  /** All key exchange groups. */
  readonly all: readonly string[];
  /** The groups of NORMAL, in its order. */
  readonly normal: readonly string[];
  readonly signatures: readonly string[];
}

/**
 * The addition to the usual priorities that prefers post-quantum key exchange and accepts post-quantum signatures; ""
 * if this GnuTLS has neither. `known` says whether GnuTLS accepts a word.
 */
export function postQuantum(
  { all, normal, signatures }: Algorithms,
  known: (word: string) => boolean,
): string {
  const signing = signatures.filter((name) => /ML-?DSA/i.test(name)).map((name) => `+SIGN-${name}`);
  const groups = all.filter((name) => /ML-?KEM/i.test(name)).map((name) => `+GROUP-${name}`);
  const usable = groups.filter(known);
  const classical = normal.map((name) => `+GROUP-${name}`).filter((word) => !groups.includes(word));
  const words = usable.length === 0 ? [] : ["-GROUP-ALL", ...usable, ...classical.filter(known)];
  return [...words, ...signing.filter(known)].map((word) => `:${word}`).join("");
}

function isKnown(word: string): boolean {
  const { tls } = library();
  const result = parse(`NORMAL:${word}`);
  if (typeof result === "string") return false;
  tls.gnutls_priority_deinit(result);
  return true;
}

/** The gnutls_priority_t for the text, or the reason why GnuTLS refuses it. */
function parse(text: string): Pointer | string {
  const out = new Out();
  const wrong = new Out();
  const bytes = cBytes(text);
  const code = library().tls.gnutls_priority_init(out.address, bytes, wrong.address);
  if (code >= 0) return out.value;
  const at = Number(wrong.value) - ptr(bytes);
  const rest = at > 0 && at < bytes.length - 1 ? textAt(wrong.value) : "";
  return errorText(code) + (rest === "" ? "" : ` at ${quoted(rest)}`);
}

/** Whether the processor has AES instructions. */
function knowsAes(): boolean {
  try {
    return /^(flags|Features)\s*:.*\baes\b/m.test(readFileSync("/proc/cpuinfo", "latin1"));
  } catch {
    return false;
  }
}

/** The algorithms of this GnuTLS. Versions that cannot list their groups have none that `postQuantum` would add. */
function algorithms(): Algorithms {
  const { tls } = library();
  const groups = groupLibrary();
  const normal = groups === undefined ? "" : parse("NORMAL");
  if (groups === undefined || typeof normal === "string") {
    return { all: [], normal: [], signatures: [] };
  }
  const list = new Out();
  const count = groups.gnutls_priority_group_list(normal, list.address);
  const nameOf = groups.gnutls_group_get_name;
  const ofNormal = numbersAt(count > 0 ? list.value : null, count).map(nameOf);
  tls.gnutls_priority_deinit(normal);
  return {
    all: namesOf(numbersAt(groups.gnutls_group_list()).map(nameOf)),
    normal: namesOf(ofNormal),
    signatures: namesOf(numbersAt(tls.gnutls_sign_list()).map(tls.gnutls_sign_get_name)),
  };
}

/** The ints at the address: `count` of them, or up to a 0. */
function numbersAt(address: Pointer | bigint | null, count = Number.POSITIVE_INFINITY): number[] {
  const numbers: number[] = [];
  if (address === null) return numbers;
  for (let i = 0; i < count; i++) {
    // Addresses of user space are safe integers, so Bun returns numbers, never the bigints of the type.
    const number = read.i32(address as Pointer, 4 * i);
    if (number === 0) break;
    numbers.push(number);
  }
  return numbers;
}

/** The names at the addresses, without duplicates and NULL. */
function namesOf(addresses: readonly (Pointer | bigint | null)[]): string[] {
  return [...new Set(addresses.flatMap((it) => (it === null ? [] : textAt(it))))];
}

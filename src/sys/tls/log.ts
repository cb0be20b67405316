/** Tells which client a line of GnuTLS's own log is about. */

let setName: ((name: Uint8Array | null) => void) | undefined;

/** GnuTLS logs from now on. `to` gets the name of the client that GnuTLS works for, a C string, and null afterwards. */
export function nameLogLines(to: (name: Uint8Array | null) => void): void {
  setName = to;
}

/** GnuTLS works for the client of this name (a C string) on this thread from now on, or for none (null). */
export function logFor(name: Uint8Array | null): void {
  setName?.(name);
}

/** Names the client in the lines of GnuTLS's own log. */

let setName: ((name: Uint8Array | null) => void) | undefined;

/** Pass the name of the client that GnuTLS works for to `to`, as a C string, and null afterwards. */
export function nameLogLines(to: (name: Uint8Array | null) => void): void {
  setName = to;
}

/** From now on GnuTLS works on this thread for the client with this name, a C string, or for none (null). */
export function logFor(name: Uint8Array | null): void {
  setName?.(name);
}

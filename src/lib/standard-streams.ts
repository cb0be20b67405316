/** Who stdin and stdout belong to: to modules while they are configured, unless a client is to be served there. */
const taking = new AbortController();

/** Fires when modules may use them no more: nbdkit_stdio_safe. */
export const streamsTaken: AbortSignal = taking.signal;

export function takeStreams(): void {
  taking.abort();
}

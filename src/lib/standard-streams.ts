/** The owner of stdin and stdout: modules, until they are configured, unless a client is served there. */
const taking = new AbortController();

/** Fires when modules may no longer use them: nbdkit_stdio_safe. */
export const streamsTaken: AbortSignal = taking.signal;

export function takeStreams(): void {
  taking.abort();
}

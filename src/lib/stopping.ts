/** The end of the server, for waits that belong to no particular client. */
const stopping = new AbortController();

/** Fires when the server begins to stop; connections have signals of their own. */
export const serverStops: AbortSignal = stopping.signal;

export function announceStop(): void {
  stopping.abort();
}

const asking = new AbortController();

/** Fires when a module wants the server to stop. */
export const stopAsked: AbortSignal = asking.signal;

export function askToStop(): void {
  asking.abort();
}

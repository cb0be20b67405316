/** Waits for events on descriptors: poll(2). */
import { callsOf } from "./call.ts";
import { offsetOf, sizeOf } from "./generated/libc.gen.ts";

const libc = callsOf("poll");
const at = offsetOf.pollfd;

/**
 * Wait at most `waitMs`, or forever if it is negative, for one of the events on one of the descriptors. Returns the
 * events of each descriptor, or undefined if a signal ended the wait.
 */
export function poll(
  fds: readonly number[],
  events: number,
  waitMs: number,
): readonly number[] | undefined {
  const polled = new Uint8Array(fds.length * sizeOf.pollfd);
  const view = new DataView(polled.buffer);
  for (const [i, fd] of fds.entries()) {
    view.setInt32(i * sizeOf.pollfd + at.fd, fd, true);
    view.setInt16(i * sizeOf.pollfd + at.events, events, true);
  }
  if (libc().poll(polled, fds.length, waitMs) < 0) return undefined;
  return fds.map((_, i) => view.getInt16(i * sizeOf.pollfd + at.revents, true));
}

/**
 * Notices clients that leave while they are held back. Bun does not look at sockets that are paused, and a request that
 * sleeps for such a client would delay others without need.
 */
import { hungUp } from "../sys/socket.ts";
import { hangupCheckMs } from "./limits.ts";

interface Watched {
  readonly fd: number;
  /** The client has left. */
  left(): void;
}

/** By their sockets: the number of a descriptor that was closed soon is another's. */
const watched = new Map<object, Watched>();
let timer: Timer | undefined;

/** Call `left` once, if the other end of the socket sends no more before it is forgotten. */
export function watchHangup(socket: object, fd: number, left: () => void): void {
  watched.set(socket, { fd, left });
  // Clients are held back and let go many times a second: the timer outlasts that.
  timer ??= setInterval(look, hangupCheckMs).unref();
}

export function forgetHangup(socket: object): void {
  watched.delete(socket);
}

function look(): void {
  const gone = new Set(hungUp([...watched.values()].map(({ fd }) => fd)));
  for (const [socket, { fd, left }] of watched) {
    if (!gone.has(fd)) continue;
    watched.delete(socket);
    left();
  }
  if (watched.size > 0) return;
  clearInterval(timer);
  timer = undefined;
}

/**
 * Detects that a paused client has left. Bun does not poll paused sockets, and a request that sleeps on behalf of such
 * a client would delay other clients for nothing.
 */
import { hungUp } from "../sys/socket.ts";
import { hangupCheckMs } from "./limits.ts";

interface Watched {
  readonly fd: number;
  /** Called when the client has left. */
  left(): void;
}

/** The watched clients, by socket, since descriptor numbers are soon reused. */
const watched = new Map<object, Watched>();
let timer: Timer | undefined;

/** Call `left` once if the client half-closes or closes before `forgetHangup`. */
export function watchHangup(socket: object, fd: number, left: () => void): void {
  watched.set(socket, { fd, left });
  // Clients are paused and resumed many times a second, so the timer keeps running in between.
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

/** What a layer may do on behalf of a client, and the client's address. nbdkit-plugin(3), "PEER NAME". */
import { NbdError } from "../lib/errors.ts";
import { askToStop } from "../lib/stopping.ts";

/** Stop the server as SIGTERM does: it answers the requests in flight and closes all layers. nbdkit_shutdown. */
export function shutdown(): void {
  askToStop();
}

/** setTimeout() fires at once above this limit (24.8 days). */
const longestTimerMs = 2 ** 31 - 1;

/**
 * Wait until the time is over or the client leaves: when `ended` fires, it throws ESHUTDOWN. nbdkit_nanosleep.
 *
 * @example
 * async open(next, config, readonly, exportName, _isTls, client) {
 *   await sleep(config.delay, client.ended);
 *   await next(readonly, exportName);
 *   return config;
 * }
 */
export function sleep(ms: number, ended?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined;
    const giveUp = (): void => {
      clearTimeout(timer);
      reject(new NbdError("ESHUTDOWN", `gave up a sleep of ${ms} ms: the connection ends`));
    };
    const wakeUp = (): void => {
      ended?.removeEventListener("abort", giveUp);
      resolve();
    };
    const wait = (left: number): void => {
      const next = left > longestTimerMs ? () => wait(left - longestTimerMs) : wakeUp;
      timer = setTimeout(next, Math.min(left, longestTimerMs));
    };
    wait(ms);
    if (ended?.aborted === true) giveUp();
    else ended?.addEventListener("abort", giveUp, { once: true });
  });
}

/** The address of a client. */
export type PeerAddress =
  | { readonly family: "IPv4" | "IPv6"; readonly address: string; readonly port: number }
  /** The path is empty for a client that bound none, which is the usual case. */
  | { readonly family: "unix"; readonly path: string }
  | { readonly family: "vsock"; readonly cid: number; readonly port: number };

/** Read a struct sockaddr of Linux. Undefined if it is truncated, or of a family that clients cannot have here. */
export function peerAddress(name: Uint8Array): PeerAddress | undefined {
  if (name.length < 2) return undefined;
  const view = new DataView(name.buffer, name.byteOffset, name.length);
  const family = view.getUint16(0, true);
  if (family === 1) {
    const path = name.subarray(2);
    const end = path.indexOf(0, path[0] === 0 ? 1 : 0);
    const text = new TextDecoder().decode(end < 0 ? path : path.subarray(0, end));
    return { family: "unix", path: text === "\0" ? "" : text };
  }
  if (family === 2 && name.length >= 8) {
    return { family: "IPv4", address: name.subarray(4, 8).join("."), port: view.getUint16(2) };
  }
  if (family === 10 && name.length >= 24) {
    return { family: "IPv6", address: ipv6(view), port: view.getUint16(2) };
  }
  if (family === 40 && name.length >= 12) {
    return { family: "vsock", cid: view.getUint32(8, true), port: view.getUint32(4, true) };
  }
  return undefined;
}

/** In the form of RFC 5952. */
function ipv6(view: DataView): string {
  const words = Array.from({ length: 8 }, (_, i) => view.getUint16(8 + 2 * i).toString(16));
  return new URL(`http://[${words.join(":")}]`).hostname.slice(1, -1);
}

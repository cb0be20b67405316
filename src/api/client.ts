/** What a layer may know of the client that it is called for, and what it may do with it. nbdkit-plugin(3), "PEER NAME". */
import { askToStop } from "../lib/stopping.ts";
import { NbdError } from "./errors.ts";

/**
 * The client of a connection: `open`, `preconnect`, `listExports` and `defaultExport` get it as their last
 * argument, and may keep it until the connection is closed.
 */
export interface Client {
  /** Counts the server's connections from 1; 0 where a layer uses those below it on behalf of no client. */
  readonly id: number;
  /**
   * The export that it asked for ("" is the default one), undefined before `open`. Once the plugin was opened
   * it is the name that the plugin was given, which filters may have changed: nbdkit_export_name.
   */
  readonly exportName?: string | undefined;
  /** nbdkit_is_tls. It may become true while the client still negotiates. */
  readonly isTls: boolean;
  /**
   * The names in the certificate that it has shown, its own and that of who signed it, as RFC 4514 writes them
   * (`CN=client,O=example`). Clients show one where --tls-verify-peer asks them to: nbdkit_peer_tls_dn,
   * nbdkit_peer_tls_issuer_dn.
   */
  readonly tlsNames?: { readonly dn: string; readonly issuerDn: string } | undefined;
  /** Its address, as a struct sockaddr; `peerAddress` reads it: nbdkit_peer_name. */
  readonly peerName?: Uint8Array | undefined;
  /** Its process, if it came through a Unix socket: nbdkit_peer_pid, nbdkit_peer_uid, nbdkit_peer_gid. */
  readonly peer?: { readonly pid: number; readonly uid: number; readonly gid: number } | undefined;
  /**
   * Fires when it will send no more requests: what waits on its behalf should give up, as `sleep` does. The
   * reason is "disconnected" if it took its leave, "gone" if it just left, and "stopping" if the server ends.
   */
  readonly ended: AbortSignal;
  /** End the connection: with `force` at once, else when the requests in flight are answered: nbdkit_disconnect. */
  disconnect(force: boolean): void;
}

/** Stop the server as SIGTERM does: requests in flight are answered, all is closed. nbdkit_shutdown. */
export function shutdown(): void {
  askToStop();
}

/**
 * Wait, but no longer than the client stays: when `ended` fires it throws ESHUTDOWN. nbdkit_nanosleep.
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
    const giveUp = (): void => {
      clearTimeout(timer);
      reject(new NbdError("ESHUTDOWN", `gave up a sleep of ${ms} ms: the connection ends`));
    };
    const timer = setTimeout(() => {
      ended?.removeEventListener("abort", giveUp);
      resolve();
    }, ms);
    if (ended?.aborted === true) giveUp();
    else ended?.addEventListener("abort", giveUp, { once: true });
  });
}

/** Where a client comes from. */
export type PeerAddress =
  | { readonly family: "IPv4" | "IPv6"; readonly address: string; readonly port: number }
  /** The path is empty for a client that bound none, which is the usual case. */
  | { readonly family: "unix"; readonly path: string }
  | { readonly family: "vsock"; readonly cid: number; readonly port: number };

/** Read a struct sockaddr of Linux. Undefined: it is cut short, or of a family that has no clients here. */
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

/** As RFC 5952 writes it. */
function ipv6(view: DataView): string {
  const words = Array.from({ length: 8 }, (_, i) => view.getUint16(8 + 2 * i).toString(16));
  return new URL(`http://[${words.join(":")}]`).hostname.slice(1, -1);
}

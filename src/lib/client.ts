/** What layers may know of a client, and ask of its connection: nbdkit-plugin(3), "PEER NAME" and "AUTHENTICATION". */

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

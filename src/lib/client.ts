/**
 * The facts about a client that layers get, and what they may ask of its connection:
 * nbdkit-plugin(3), "PEER NAME" and "AUTHENTICATION".
 */

/**
 * The client of a connection: `open`, `preconnect`, `listExports` and `defaultExport` get it as their last
 * argument, and may keep it until the connection is closed.
 */
export interface Client {
  /** The server counts connections from 1. 0: a layer uses the layers below it for no client. */
  readonly id: number;
  /**
   * The export that the client requested ("" is the default one), undefined before `open`. After
   * the plugin is open, it is the name that the plugin got, which filters may have changed:
   * nbdkit_export_name.
   */
  readonly exportName?: string | undefined;
  /** nbdkit_is_tls. It may become true while the client still negotiates. */
  readonly isTls: boolean;
  /**
   * The names of the client and of the issuer in the client's certificate, in the form of RFC 4514
   * (`CN=client,O=example`). Clients send one if --tls-verify-peer requests it:
   * nbdkit_peer_tls_dn, nbdkit_peer_tls_issuer_dn.
   */
  readonly tlsNames?: { readonly dn: string; readonly issuerDn: string } | undefined;
  /** Its address, as a struct sockaddr; `peerAddress` reads it: nbdkit_peer_name. */
  readonly peerName?: Uint8Array | undefined;
  /** Its process, if it came through a Unix socket: nbdkit_peer_pid, nbdkit_peer_uid, nbdkit_peer_gid. */
  readonly peer?: { readonly pid: number; readonly uid: number; readonly gid: number } | undefined;
  /**
   * Fires when the client will send no more requests. Code that waits on its behalf should give
   * up, as `sleep` does. The reason is "disconnected" after a disconnect request, "gone" if the
   * connection just ended, and "stopping" if the server ends.
   */
  readonly ended: AbortSignal;
  /** End the connection: with `force` at once, else when the requests in flight are answered: nbdkit_disconnect. */
  disconnect(force: boolean): void;
}

/** How the server treats clients. The command line makes one object, which all connections share. */

export interface ProtocolPolicy {
  /** -r: clients may not write, whatever the layers say. */
  readonly readonly: boolean;
  /** -t: the most requests of one client in flight. Undefined: the server's own limit. */
  readonly threads: number | undefined;
  /** Offer structured replies, which block status needs. */
  readonly structuredReplies: boolean;
  /** Offer metadata contexts, and with them block status. */
  readonly metaContexts: boolean;
  /** The handshake flags that the server may offer. */
  readonly maskHandshake: number;
  /** -o: greet clients without negotiation. */
  readonly oldstyle: boolean;
  /** The time limit of the handshake. Undefined: none. */
  readonly timeoutSeconds: number | undefined;
}

/** How the server treats clients. The command line makes it once, and all connections share that object. */

export interface ProtocolPolicy {
  /** -r: clients may not write, whatever the layers say. */
  readonly readonly: boolean;
  /** -t: how many requests of one client may be in progress at once. Without it as many as make sense. */
  readonly threads: number | undefined;
  /** Clients may have structured replies, and with them block status. */
  readonly structuredReplies: boolean;
  /** Clients may have block status. */
  readonly metaContexts: boolean;
  /** The bits of the handshake's flags that clients may see. */
  readonly maskHandshake: number;
  /** -o: greet clients without negotiation. */
  readonly oldstyle: boolean;
  /** What a client may spend on the handshake. Without it as long as it likes. */
  readonly timeoutSeconds: number | undefined;
}

/** What a connection needs of the socket, pipe or streams that its client is on. */
import type { ConnectionInfo } from "../chain/layer.ts";
import type { Sink } from "../protocol/output.ts";

/** The client's socket. */
export interface ClientSocket extends Sink {
  /** The client's address and process, as far as the kernel tells. */
  readonly client: Pick<ConnectionInfo, "peer" | "peerName">;
  /** Bytes that it took and still has to write; nothing where the kernel takes them at once. */
  readonly unwritten?: number;
  /** What has come and was not delivered yet, as much as fits: how much, or 0 where nothing is there. */
  receive(into: Uint8Array): number;
  /** Close it, once what was written has left. */
  end(): void;
  /** Close it now. */
  terminate(): void;
}

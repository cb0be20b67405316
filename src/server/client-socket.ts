/** What a connection needs of its client's socket, pipe or streams. */
import type { ConnectionInfo } from "../chain/layer.ts";
import type { Sink } from "../protocol/output.ts";

/** The client's socket. */
export interface ClientSocket extends Sink {
  /** The client's address and process, as far as the kernel knows them. */
  readonly client: Pick<ConnectionInfo, "peer" | "peerName">;
  /** Bytes that the socket took and has not written. Undefined if the kernel takes them at once. */
  readonly unwritten?: number;
  /** Receive input that has arrived but was not delivered, as much as fits. Returns the number of bytes, or 0. */
  receive(into: Uint8Array): number;
  /** Close the socket when its output has been sent. */
  end(): void;
  /** Close the socket now. */
  terminate(): void;
}

/** One client on descriptors that are there already: a socket, or pipes and files, as stdin and stdout may be. */
import { close, fstatSync, read, write } from "node:fs";

import { ownDescriptor } from "../sys/own-descriptors.ts";
import { setBlocking } from "../sys/process.ts";
import { peerCredentials, peerName } from "../sys/socket.ts";
import type { ClientSocket } from "./client-socket.ts";
import type { Connection } from "./connection.ts";
import { forgetHangup, watchHangup } from "./hangups.ts";
import { streamChunkBytes } from "./limits.ts";
import { type Accept, adoptConnected } from "./listener.ts";

/** Serve the client that writes to `input` and reads from `output`. Both are closed in the end. */
export async function acceptStreams(input: number, output: number, accept: Accept): Promise<void> {
  const [from, to] = [fstatSync(input), fstatSync(output)];
  if (from.isSocket() && from.ino === to.ino && from.dev === to.dev) {
    close(output);
    await adoptConnected(input, accept);
  } else {
    new Streams(input, output).start(accept);
  }
}

/**
 * Reads and writes run on Bun's threads, one of each at a time, since a pipe cannot be asked to take what it has
 * room for without changing it for all its users.
 */
class Streams implements ClientSocket {
  readonly client: ClientSocket["client"];
  readonly #input: number;
  readonly #output: number;
  #connection: Connection | undefined;
  #paused = false;
  #reading = false;
  /** What is being written: the process must not end before. */
  unwritten = 0;
  #ending = false;
  #over = false;

  constructor(input: number, output: number) {
    this.#input = input;
    this.#output = output;
    ownDescriptor(input);
    ownDescriptor(output);
    setBlocking(input);
    setBlocking(output);
    this.client = { peerName: peerName(input), peer: peerCredentials(input) };
  }

  start(accept: Accept): void {
    this.#connection = accept(this);
    this.#read();
  }

  pause(): void {
    this.#paused = true;
    watchHangup(this, this.#input, () => this.#connection?.left());
  }

  resume(): void {
    this.#paused = false;
    forgetHangup(this);
    this.#read();
  }

  /** A read is under way already, or nothing is wanted. */
  receive(): number {
    return 0;
  }

  /** Takes everything, or nothing while it still writes. */
  write(bytes: Uint8Array, start: number, length: number): number {
    if (this.#over) return -1;
    if (this.unwritten > 0) return 0;
    this.unwritten = length;
    // The caller uses its memory again.
    void this.#writeAll(bytes.slice(start, start + length));
    return length;
  }

  end(): void {
    this.#ending = true;
    if (this.unwritten === 0) this.#finish();
  }

  terminate(): void {
    this.#finish();
  }

  #read(): void {
    if (this.#reading || this.#paused || this.#over) return;
    this.#reading = true;
    const buffer = new Uint8Array(streamChunkBytes);
    read(this.#input, buffer, 0, streamChunkBytes, null, (error, count) => {
      this.#reading = false;
      if (this.#over) return;
      if (error !== null || count === 0) {
        this.#connection?.inputEnded();
        return;
      }
      // Not the whole buffer for a few bytes that wait.
      this.#connection?.data(
        count < streamChunkBytes / 2 ? buffer.slice(0, count) : buffer.subarray(0, count),
      );
      this.#read();
    });
  }

  async #writeAll(bytes: Uint8Array): Promise<void> {
    try {
      for (let at = 0; at < bytes.length && !this.#over;) {
        at += await written(this.#output, bytes, at);
      }
    } catch {
      // There is no reader any more.
      this.#finish();
    }
    this.unwritten = 0;
    if (this.#ending) this.#finish();
    else if (!this.#over) this.#connection?.drained();
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    forgetHangup(this);
    // A read that still waits for the client ends with the process.
    close(this.#input);
    close(this.#output);
    this.#connection?.gone();
  }
}

function written(fd: number, bytes: Uint8Array, at: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(fd, bytes, at, bytes.length - at, null, (error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });
}

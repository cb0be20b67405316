/** Serves one client on existing descriptors: a socket, or pipes and files such as stdin and stdout. */
import { close, fstatSync, read, write } from "node:fs";

import { setBlocking } from "../sys/process.ts";
import { protectDescriptor } from "../sys/protected-descriptors.ts";
import { peerCredentials, peerName } from "../sys/socket.ts";
import type { ClientSocket } from "./client-socket.ts";
import type { Connection } from "./connection.ts";
import { forgetHangup, watchHangup } from "./hangups.ts";
import { streamChunkBytes } from "./limits.ts";
import { type Accept, adoptConnected } from "./listener.ts";

/** Serve the client that writes to `input` and reads from `output`. Closes both at the end. */
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
 * Reads and writes run on Bun's threads, one of each at a time. To write only what a pipe has room for, the pipe would
 * have to be non-blocking, for all processes that share it.
 */
class Streams implements ClientSocket {
  readonly client: ClientSocket["client"];
  readonly #input: number;
  readonly #output: number;
  #connection: Connection | undefined;
  #paused = false;
  #reading = false;
  /** Bytes that are being written. The process must not end before. */
  unwritten = 0;
  #ending = false;
  #over = false;

  constructor(input: number, output: number) {
    this.#input = input;
    this.#output = output;
    protectDescriptor(input);
    protectDescriptor(output);
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

  /** A read is already running, or input is paused. */
  receive(): number {
    return 0;
  }

  /** Takes all bytes, or none while a write is running. */
  write(bytes: Uint8Array, start: number, length: number): number {
    if (this.#over) return -1;
    if (this.unwritten > 0) return 0;
    this.unwritten = length;
    // The caller reuses its memory.
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
      // Copy a few bytes, so that they do not keep the whole buffer alive.
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
      // The reader is gone.
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
    // A read that still waits for input ends with the process.
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

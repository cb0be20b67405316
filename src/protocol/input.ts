/** Buffers what the client sends during the handshake. */
import type { Lifecycle } from "./lifecycle.ts";
import { handshakeInputBytes } from "./limits.ts";
import type { Sink } from "./output.ts";

export class Input {
  readonly #sink: Sink;
  readonly #lifecycle: Lifecycle;
  #chunks: Uint8Array[] = [];
  #available = 0;
  #paused = false;
  #wake: (() => void) | undefined;

  constructor(sink: Sink, lifecycle: Lifecycle) {
    this.#sink = sink;
    this.#lifecycle = lifecycle;
  }

  push(chunk: Uint8Array): void {
    // Bytes after discarded ones make no sense.
    if (!this.#lifecycle.phase.listens) return;
    this.#chunks.push(chunk);
    this.#available += chunk.length;
    if (this.#wake !== undefined) {
      this.#wake();
    } else if (this.#available >= handshakeInputBytes && !this.#paused) {
      this.#paused = true;
      this.#sink.pause();
    }
  }

  /** The connection's phase has changed, or the client is half-closed. */
  wake(): void {
    this.#wake?.();
  }

  /** Discard everything that `take` has not returned. */
  drop(): void {
    this.#chunks = [];
    this.#available = 0;
  }

  /** Nothing is buffered. A client that leaves now leaves between two messages, which is no error. */
  get empty(): boolean {
    return this.#available === 0;
  }

  /** Return exactly `count` bytes, or undefined if the client leaves first. */
  async take(count: number): Promise<Uint8Array | undefined> {
    while (this.#available < count) if (!(await this.#more())) return undefined;
    const result = new Uint8Array(new ArrayBuffer(count));
    let at = 0;
    while (at < count) {
      const part = this.#shift(count - at);
      result.set(part, at);
      at += part.length;
    }
    return result;
  }

  /** Discard `count` bytes as they arrive. Returns false if the client leaves first. */
  async skip(count: number): Promise<boolean> {
    for (let left = count; left > 0;) {
      if (this.#available === 0) {
        if (!(await this.#more())) return false;
      } else {
        left -= this.#shift(left).length;
      }
    }
    return true;
  }

  /** Return everything that is buffered, and resume the client. */
  rest(): readonly Uint8Array[] {
    const chunks = this.#chunks;
    this.drop();
    this.#resume();
    return chunks;
  }

  /** The next bytes, at most `count`. */
  #shift(count: number): Uint8Array {
    const [chunk] = this.#chunks;
    if (chunk === undefined) return new Uint8Array(0);
    const part = chunk.subarray(0, count);
    if (part.length === chunk.length) this.#chunks.shift();
    else this.#chunks[0] = chunk.subarray(part.length);
    this.#available -= part.length;
    return part;
  }

  async #more(): Promise<boolean> {
    if (this.#ended) return false;
    this.#resume();
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
    return !this.#ended || this.#available > 0;
  }

  /** No more bytes will come. */
  get #ended(): boolean {
    return this.#lifecycle.halfClosed || !this.#lifecycle.phase.listens;
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#sink.resume();
  }
}

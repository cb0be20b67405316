/** Reads the bytes that one side sent, and detects where they end too early. */

/** The bytes end here, since the connection broke. */
export class CutOff extends Error {}

export class ByteReader {
  readonly #data: Uint8Array;
  readonly #view: DataView;
  readonly #cut: boolean;
  at = 0;

  /** With `cut` the bytes may end anywhere. */
  constructor(data: Uint8Array, cut: boolean) {
    this.#data = data;
    this.#view = new DataView(data.buffer, data.byteOffset, data.length);
    this.#cut = cut;
  }

  get left(): number {
    return this.#data.length - this.at;
  }

  /** Skip `count` bytes, and return their position. */
  skip(count: number, what: string): number {
    if (this.left < count) {
      if (this.#cut) throw new CutOff(what);
      throw new Error(`${what}: expected ${count} bytes, but only ${this.left} are left`);
    }
    this.at += count;
    return this.at - count;
  }

  take(count: number, what: string): Uint8Array {
    const at = this.skip(count, what);
    return this.#data.subarray(at, at + count);
  }

  bytes(at: number, count: number): Uint8Array {
    return this.#data.subarray(at, at + count);
  }

  u16(at: number): number {
    return this.#view.getUint16(at);
  }

  u32(at: number): number {
    return this.#view.getUint32(at);
  }

  u64(at: number): bigint {
    return this.#view.getBigUint64(at);
  }

  /** Throw if bytes follow. */
  ends(why: string): undefined {
    if (this.left > 0) throw new Error(`${why}, but the server sent ${this.left} bytes more`);
    return undefined;
  }
}

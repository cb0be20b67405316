/**
 * Which part of a buffer holds only zeroes. C reads into cleared memory, so that no earlier content can leave. Clearing
 * it costs the thread that calls C much more than the code that has just copied the last reply out of it, since that
 * has the memory in its processor's cache.
 */

const ranges = new WeakMap<ArrayBufferLike, ClearRange>();

export class ClearRange {
  #from = 0;
  #to = 0;
  /** A read was offered a buffer that was not clear. */
  #isWanted = false;

  constructor(buffer: ArrayBufferLike) {
    ranges.set(buffer, this);
  }

  /** Clear `memory`, a part of the buffer that is free now, if reads make use of that. */
  clear(memory: Uint8Array): void {
    if (!this.#isWanted) return;
    memory.fill(0);
    this.#from = memory.byteOffset;
    this.#to = memory.byteOffset + memory.length;
  }

  /** The buffer may hold anything. */
  forget(): void {
    this.#to = 0;
  }

  /** Whether `memory`, a part of the buffer, holds only zeroes. It is about to be written, so the answer is used up. */
  take(memory: Uint8Array): boolean {
    const isClear =
      memory.byteOffset >= this.#from && memory.byteOffset + memory.length <= this.#to;
    this.#to = 0;
    this.#isWanted = true;
    return isClear;
  }
}

/** Whether memory holds only zeroes, as far as its owner knows. It is about to be written: see `ClearRange.take`. */
export function takeClear(memory: Uint8Array): boolean {
  return ranges.get(memory.buffer)?.take(memory) ?? false;
}

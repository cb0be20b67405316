/** Random choices that repeat for the same seed. */
import { randomFrom } from "#test/random";

export class Random {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = randomFrom(seed);
  }

  /** 32 random bits. */
  bits(): number {
    return this.#next() * 2 ** 32;
  }

  /** From 0 to n-1. */
  below(n: number): number {
    return this.bits() % n;
  }

  /** True once in n times. */
  once(n: number): boolean {
    return this.below(n) === 0;
  }

  pick<T>(from: readonly T[]): T {
    const picked = from[this.below(from.length)];
    if (picked === undefined) throw new Error("nothing to pick from");
    return picked;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}

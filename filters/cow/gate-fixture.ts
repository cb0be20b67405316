/** A filter for tests that delays reads until the test releases them, in any order. */
import { defineFilter } from "#api";

export interface Gate {
  /** Reads that wait, oldest first. */
  readonly waiting: (() => void)[];
  /** False lets reads pass at once. */
  closed: boolean;
  /** Release the waiting read at `index`, and wait until all its consequences have happened. */
  release(index: number): Promise<void>;
}

export function gate() {
  const control: Gate = {
    waiting: [],
    closed: true,
    async release(index) {
      control.waiting.splice(index % control.waiting.length, 1)[0]?.();
      await settled();
    },
  };
  const filter = defineFilter({
    name: "gate",
    pread(next, _config, buf, offset, flags) {
      if (!control.closed) return next.pread(buf, offset, flags);
      const { promise, resolve } = Promise.withResolvers<void>();
      control.waiting.push(resolve);
      return promise.then(() => next.pread(buf, offset, flags));
    },
  });
  return { control, filter };
}

/** Waits until all promise callbacks that can run have run. */
export async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

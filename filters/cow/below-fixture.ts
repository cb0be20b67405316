/** A disk full of 5, below a copy that is tested without a chain. */
import type { NextOps } from "#api";

import type { Below } from "./copy.ts";

/** A copy only reads from it. */
const next = { pread: (buf: Uint8Array) => void buf.fill(5) } as unknown as NextOps;

export function fives(size: bigint): Below {
  return { next, size, caches: false };
}

/** Asks the top layer what it can do, and says so in transmission flags. */
import type { NextOps, ThreadModel } from "../api/generated/methods.gen.ts";
import {
  EFLAG_CAN_MULTI_CONN,
  EFLAG_HAS_FLAGS,
  EFLAG_READ_ONLY,
  EFLAG_ROTATIONAL,
  EFLAG_SEND_CACHE,
  EFLAG_SEND_FAST_ZERO,
  EFLAG_SEND_FLUSH,
  EFLAG_SEND_FUA,
  EFLAG_SEND_TRIM,
  EFLAG_SEND_WRITE_ZEROES,
} from "./constants.ts";

export interface ExportFacts {
  readonly size: bigint;
  readonly eflags: number;
  /** Whether the layers can report their extents. */
  readonly canExtents: boolean;
}

/** What is known of all layers together. */
export interface ChainFacts {
  /** It may change while layers are asked. */
  readonly threadModel: ThreadModel;
}

/** Filters may rely on the order of the questions: it is nbdkit's. All are asked, so that layers know the answers. */
export async function exportFacts(top: NextOps, chain: ChainFacts): Promise<ExportFacts> {
  const size = await top.getSize();
  let eflags = EFLAG_HAS_FLAGS;
  if (!(await top.canWrite())) eflags |= EFLAG_READ_ONLY;
  if ((await top.canZero()) !== "none") eflags |= EFLAG_SEND_WRITE_ZEROES;
  if (await top.canFastZero()) eflags |= EFLAG_SEND_FAST_ZERO;
  if (await top.canTrim()) eflags |= EFLAG_SEND_TRIM;
  if ((await top.canFua()) !== "none") eflags |= EFLAG_SEND_FUA;
  if (await top.canFlush()) eflags |= EFLAG_SEND_FLUSH;
  if (await top.isRotational()) eflags |= EFLAG_ROTATIONAL;
  // A promise about several clients is worth nothing where there can be only one.
  if ((await top.canMultiConn()) && chain.threadModel !== "serialize_connections") {
    eflags |= EFLAG_CAN_MULTI_CONN;
  }
  if ((await top.canCache()) !== "none") eflags |= EFLAG_SEND_CACHE;
  // Block status is offered in any case: without extents, all of the disk is data.
  const canExtents = await top.canExtents();
  return { size, eflags, canExtents };
}

/**
 * Where holes are reported instead of read, what is read begins and ends at multiples of this:
 * requests have to keep to the smallest block, and so do the chunks of their replies. Undefined:
 * the layers cannot say.
 */
export async function smallestPiece(top: NextOps): Promise<number | undefined> {
  try {
    return Math.max(1, (await top.blockSize()).minimum);
  } catch {
    // The client has not asked for block sizes. When it does it is told what is wrong.
    return undefined;
  }
}

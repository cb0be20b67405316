/** Asks the top layer for its capabilities, and converts them to transmission flags. */
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
  /** Whether the layers can report extents. */
  readonly canExtents: boolean;
}

/** Facts about the chain as a whole. */
export interface ChainFacts {
  /** Layers may change it while they answer questions. */
  readonly threadModel: ThreadModel;
}

/**
 * Filters may rely on the order of the questions, which is nbdkit's. All questions are asked, so that the seam
 * remembers all answers.
 */
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
  // Multi-conn is useless if the thread model allows only one client at a time.
  if ((await top.canMultiConn()) && chain.threadModel !== "serialize_connections") {
    eflags |= EFLAG_CAN_MULTI_CONN;
  }
  if ((await top.canCache()) !== "none") eflags |= EFLAG_SEND_CACHE;
  // Block status is always offered: without extents, the whole disk is reported as data.
  const canExtents = await top.canExtents();
  return { size, eflags, canExtents };
}

/**
 * The alignment of chunks in replies that report holes: requests must be multiples of the smallest block, and chunks
 * too. Undefined if the layers fail to answer.
 */
export async function smallestPiece(top: NextOps): Promise<number | undefined> {
  try {
    return Math.max(1, (await top.blockSize()).minimum);
  } catch {
    // The client has not asked for block sizes. If it does, it gets the error then.
    return undefined;
  }
}

/** Requests between their arrival and their answer. */
import type { Extents } from "../lib/extents.ts";
import { CMD_BLOCK_STATUS, CMD_READ, CMD_WRITE } from "./constants.ts";
import { extentsBytes } from "./limits.ts";
import type { Place } from "./output.ts";
import type { Payload } from "./payload.ts";
import type { Asked } from "./replies.ts";

/** A reply of several chunks, which stand in memory of its own. */
interface SparseReply {
  send(): void;
  drop(): void;
}

/** What a request needs until it is answered. */
export interface Held {
  /** Where the reply to a read stands. */
  readonly place?: Place;
  /** A read whose reply has several chunks. */
  readonly sparse?: SparseReply;
  /** A write's collected data. */
  readonly payload?: Payload;
  /** What is filled for BLOCK_STATUS. */
  readonly extents?: Extents;
}

export interface Running extends Asked {
  readonly flags: number;
  readonly count: number;
}

/** A request that will be answered later. */
export interface Pending extends Held, Running {
  /** Bytes of memory that it counts for. */
  readonly weight: number;
}

/** Memory that a request may need while it is in flight. */
export function weightOf(type: number, count: number): number {
  if (type === CMD_READ || type === CMD_WRITE) return count;
  return type === CMD_BLOCK_STATUS ? extentsBytes : 0;
}

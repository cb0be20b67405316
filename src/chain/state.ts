/** What the seam remembers of one layer in one connection. */
import type { NextOps } from "../api/generated/methods.gen.ts";
import type { Link } from "./link.ts";
import type { Question, Remembered } from "./methods.ts";

/** What was asked once and holds until the connection ends. */
export type Answers = { -readonly [Q in Remembered]?: AnswerTo<Q> };

export type AnswerTo<Q extends Question> = Awaited<ReturnType<NextOps[Q]>>;

/** The part that all views of one layer in one connection share. */
export class State {
  /** The layer's place in the chain. */
  readonly link: Link;
  /** Opened by a layer on behalf of no client, or for its own purposes. */
  readonly shared: boolean;
  handle: unknown = undefined;
  open = false;
  prepared = false;
  /** Its finalize has failed: it is never called again, and finalizing fails until the layer is opened anew. */
  finalizeFailed = false;
  /** Closed for good, with the connection: a stack opened now would never be closed. */
  over = false;
  /** The size as a number where that is exact, else -1: comparing numbers is far cheaper. */
  exactSize = -1;
  /** Where the layer's window begins in the layer below, if it has one; known once the size is. */
  windowOffset: bigint | undefined;
  /** Of a file whose bytes are those of the disk: what the plugin has declared. */
  descriptor: number | undefined;
  answers: Answers = {};
  /** Questions that the layer answers later. */
  asked = new Map<Remembered, Promise<unknown>>();
  /** Stands in for the state in views that have had their time. */
  readonly isRetired: boolean;
  #retired: State | undefined;

  constructor(link: Link, shared: boolean, isRetired = false) {
    this.link = link;
    this.shared = shared;
    this.isRetired = isRetired;
  }

  /** One that is never open. */
  get retired(): State {
    return this.isRetired ? this : (this.#retired ??= new State(this.link, this.shared, true));
  }

  /** Whether the range lies within the size that is known, and the connection is ready for data. */
  fits(count: number, offset: bigint): boolean {
    const { exactSize, prepared, answers } = this;
    if (!prepared || count <= 0 || typeof offset !== "bigint") return false;
    if (exactSize >= 0) {
      // Exact: where `offset` is too large to be a safe integer it is also larger than the size.
      const at = Number(offset);
      return at >= 0 && at + count <= exactSize;
    }
    const size = answers.getSize;
    return size !== undefined && offset >= 0n && offset + BigInt(count) <= size;
  }

  /** Where the layer below has what this one has at `offset`, if it has no method of its own. */
  offsetBelow(offset: bigint): bigint {
    const { windowOffset } = this;
    return windowOffset === undefined ? offset : offset + windowOffset;
  }

  /** Forget all, so that the layer can be opened again. */
  reset(): void {
    this.handle = undefined;
    this.open = false;
    this.prepared = false;
    this.finalizeFailed = false;
    this.exactSize = -1;
    this.windowOffset = undefined;
    this.descriptor = undefined;
    this.answers = {};
    this.asked = new Map();
  }
}

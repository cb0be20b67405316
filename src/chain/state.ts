/** What the seam remembers of one layer in one connection. */
import type { Support } from "#abi/generated/methods.gen";

/** What was asked once and holds until the connection ends. */
export interface Answers {
  getSize?: bigint;
  canWrite?: boolean;
  canFlush?: boolean;
  isRotational?: boolean;
  canTrim?: boolean;
  canZero?: Support;
  canFastZero?: boolean;
  canFua?: Support;
  canMultiConn?: boolean;
  canCache?: Support;
}

/** The part that all views of one layer in one connection share. */
export class State {
  handle: unknown = undefined;
  open = false;
  prepared = false;
  /** The size as a number where that is exact, else -1: comparing numbers is far cheaper. */
  exactSize = -1;
  readonly answers: Answers = {};
}

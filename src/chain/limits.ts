/** The tuned numbers of this room. Bytes, milliseconds and counts as the names say. */

/** What is written or read at once where zeroing and caching are emulated. Other clients have their turn in between. */
export const emulatedPieceBytes = 64 << 20;
/** A call that has no answer for so long is logged once. Slow disks answer within some seconds. */
export const unansweredMs = 30_000;
/** How often calls are looked at. A call is logged at most so much later. */
export const unansweredLookMs = 5000;
/** Calls that one look names in the log; the others are counted. */
export const mostNamedCalls = 10;

/** The tuned numbers of this room. Bytes, milliseconds and counts as the names say. */

/**
 * The size of one write or read of emulated zeroing and caching. Other clients have their turn between two of them.
 * choice: the largest request that clients may send, so layers get no larger one.
 */
export const emulatedPieceBytes = 64 << 20;
/**
 * A call that is not answered for this time is logged once. Slow disks answer within some seconds. choice: a user
 * learns from the log which layer hangs.
 */
export const unansweredMs = 30_000;
/** The interval between two looks at the calls. choice: a call is logged at most this much later. */
export const unansweredLookMs = 5000;
/** Calls that one look names in the log; the others are counted. choice: the length of the log. */
export const mostNamedCalls = 10;

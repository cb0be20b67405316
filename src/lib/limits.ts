/**
 * The tuned numbers of this room. Bytes, milliseconds and counts as the names say; "bench" is a section of
 * bench/README.md that shows what the number is worth.
 */

/**
 * Chunks of this size are freed at once; smaller ones are left to the garbage collector, since a call of its own saves
 * little. bench: "Limits".
 */
export const freedFromBytes = 16 << 10;
/**
 * How long the server waits for a reader of the log. Clients wait meanwhile, so it does not wait again before the
 * reader has returned. LOG_PATIENCE_MS in abi/runtime/runtime-limits.h is the same for lines of C modules. choice: a
 * busy reader loses no line, and clients notice no longer wait.
 */
export const logPatienceMs = 2000;
/** The initial capacity of a list of extents. Most have fewer; longer ones double their memory. bench: "Limits". */
export const firstExtents = 8;

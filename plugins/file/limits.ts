/**
 * The tuned numbers of this plugin. Bytes, milliseconds and counts as the names say; "bench" is a section of
 * bench/README.md that shows what the number is worth.
 */

/**
 * Longer reads and writes run on another thread: copying more keeps other clients waiting, while the other thread costs
 * some 50 us. bench: "The server's processor time".
 */
export const mostAtOnceBytes = 1 << 20;
/** A call that took longer was not answered from memory. choice: how long other clients may wait for a call. */
export const slowMs = 50;
/**
 * For this time after such a call, all calls for the same disk run on other threads. choice: other clients wait for one
 * slow call in 5 s at most.
 */
export const cautiousMs = 5000;
/** Extents that one request looks for, so that other clients have their turn. bench: "Limits". */
export const mostExtents = 2048;
/**
 * Written ranges after which the oldest one is dropped from the page cache. By then the disk normally has it. bench:
 * "Limits".
 */
export const writtenRanges = 8;

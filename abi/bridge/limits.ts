/**
 * The tuned numbers of this room. Microseconds and counts as the names say; "bench" is a section of bench/README.md
 * that shows what the number is worth.
 */

/** Calls that are submitted together. More go in several parts, so that C begins early. bench: "Genuine C filters". */
export const submittedTogether = 16;
/** Threads of closed connections that are kept for the next ones. bench: "Limits". */
export const mostSpareThreads = 16;
/** JavaScript polls for C's replies only while it waits for so few. bench: "Genuine C filters", depth 1. */
export const polledReplies = 2;
/**
 * How long one poll lasts: a little more than putting JavaScript's thread to sleep and waking it takes. bench:
 * "Limits".
 */
export const pollMicroseconds = 60;
/**
 * Polls in a row, as long as each of them found a message. Then other work of the event loop has its turn. bench:
 * "Limits".
 */
export const pollsInRow = 4;
/** Polls in vain, one after the other, until polling stops. bench: "Limits". */
export const pollPatience = 16;
/** While polling has stopped, one of so many chances is taken, to find out whether it pays again. bench: "Limits". */
export const pollRetry = 64;
/** Messages of C that are collected by one call. More take further calls. bench: "Limits". */
export const reapedAtOnce = 512;

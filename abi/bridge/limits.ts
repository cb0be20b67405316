/** The tuned numbers of this room. Microseconds and counts as the names say. */

/**
 * Calls that are submitted to C together. More go in several parts, so that C begins early. bench: "Genuine C filters".
 */
export const submittedTogether = 16;
/** Threads of closed connections that are kept for the next ones. */
export const mostSpareThreads = 16;
/** JavaScript polls for C's replies only while it waits for so few. bench: "Genuine C filters", depth 1. */
export const polledReplies = 2;
/** How long one poll lasts: a little more than putting JavaScript's thread to sleep and waking it takes. */
export const pollMicroseconds = 60;

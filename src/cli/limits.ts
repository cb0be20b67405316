/** The tuned numbers of this room. Bytes, milliseconds and counts as the names say. */

/**
 * How long shells that have forked are sent SIGTERM again: they catch it until the child executes its program. choice:
 * a user waits for the server to stop.
 */
export const forkMs = 1000;
/** How long SIGSTOP may take to reach a process. choice: a user waits for the server to stop. */
export const stopMs = 100;
/**
 * The same signal within this time does not count as a second one: a terminal and `npm run` both pass on Ctrl-C.
 * choice: a user who presses Ctrl-C again takes longer.
 */
export const doubledSignalMs = 500;
/**
 * How often the watchdog checks whether JavaScript makes progress. choice: with blockedLooks, the two seconds after
 * which it counts as blocked.
 */
export const watchdogLookMs = 500;
/**
 * JavaScript counts as blocked after this many looks without progress. choice: clients notice a wait of two seconds.
 */
export const blockedLooks = 4;
/** Layers that the watchdog's line names. choice: the length of a message. */
export const mostNamedLayers = 3;
/**
 * When a server that ends reports the clients whose requests the layers have not answered. choice: a user waits for the
 * server to stop.
 */
export const stillWaitingMs = 5000;
/**
 * How long layers that answer have to bring acknowledged writes to the disk, when the server has to end. choice: a user
 * waits for the server to stop.
 */
export const flushMs = 5000;
/** Calls without an answer that are named at the end; the others are counted. choice: the length of the log. */
export const mostNamedCalls = 10;
/**
 * The bytes in one word of the shell script for --run, each of at most five characters. source: execve(2), since the
 * kernel takes at most 128 KiB as one word.
 */
export const scriptWordBytes = 16_384;

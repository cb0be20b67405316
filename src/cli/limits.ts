/** The tuned numbers of this room. Bytes, milliseconds and counts as the names say. */

/** How long shells that have forked are sent SIGTERM again: they catch it until the child executes its program. */
export const forkMs = 1000;
/** How long SIGSTOP may take to reach a process. */
export const stopMs = 100;
/** The same signal within this time does not count as a second one: a terminal and `npm run` both pass on Ctrl-C. */
export const doubledSignalMs = 500;
/** How often the watchdog checks whether JavaScript makes progress. */
export const watchdogLookMs = 500;
/** JavaScript counts as blocked after this many looks without progress: two seconds. */
export const blockedLooks = 4;
/** Layers that the watchdog's line names. */
export const mostNamedLayers = 3;
/** When a server that ends reports the clients whose requests the layers have not answered. */
export const stillWaitingMs = 5000;
/** How long layers that answer have to bring acknowledged writes to the disk, when the server has to end. */
export const flushMs = 5000;
/** Calls without an answer that are named at the end; the others are counted. */
export const mostNamedCalls = 10;
/** One word of the shell script for --run. The kernel takes 128 KiB as one word. */
export const scriptWordBytes = 16_384;

/**
 * The tuned numbers of this room. Bytes, milliseconds and counts as the names say; "bench" is a section of
 * bench/README.md that shows what the number is worth.
 */

/** Threads for blocking system calls. Each takes some megabytes; further calls wait. bench: "Limits". */
export const mostBlockingThreads = 64;
/**
 * Outstanding blocking calls of one open file. A disk that hangs leaves threads to seven other files. bench: "Limits".
 */
export const mostCallsOfFile = 8;
/** A thread that was idle for this long ends. Starting another one takes some milliseconds. bench: "Limits". */
export const idleThreadMs = 10_000;
/**
 * The capacity of a pipe for replies from files: the largest that Linux gives to users other than root. bench: "The
 * server's processor time", reads of 256 KiB to 2 MiB.
 */
export const pipeBytes = 1 << 20;
/** What TLS encrypts before it sends: a reply of 256 KiB, and what its records add. bench: "TLS". */
export const encryptedBytes = 288 << 10;

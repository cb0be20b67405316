/**
 * The tuned numbers of this room: bytes, milliseconds or counts, as the names say. "bench" names the section of
 * bench/README.md that shows the worth of a number.
 */

/**
 * Pipes that hold replies. Each takes two descriptors. Without a pipe, the server reads the file instead. source:
 * pipe(7), since they hold 32 MiB, half of what the kernel lets the pipes of one user hold.
 */
export const mostPipes = 32;
/** Empty pipes that are kept for reuse. The largest reply from a file, 4 MiB, needs five. bench: "Limits". */
export const mostSparePipes = 8;
/** The time limit of a TLS handshake. source: the default timeout of GnuTLS, which nbdkit uses as well. */
export const tlsHandshakeMs = 40_000;
/**
 * The most bytes that a client may send for the TLS handshake. Long certificate chains take some ten KiB. choice: the
 * memory that an unknown client may take.
 */
export const tlsHandshakeBytes = 1 << 20;
/** Encrypted output that may wait for a client that takes none. choice: the memory that such a client may take. */
export const tlsPendingBytes = 1 << 20;
/**
 * From this size on, waiting output keeps the buffer that it was encrypted into. Less output is copied, and the buffer
 * is reused. bench: "Limits".
 */
export const tlsKeptFromBytes = 64 << 10;
/**
 * Encrypted input of one client in one turn of the event loop, so that other clients get their turn. bench: "Limits".
 */
export const tlsReceivedAtOnce = 1 << 20;
/**
 * Input of one client in one turn of the event loop, so that other clients get their turn. bench: "The server's
 * processor time", writes.
 */
export const receivedAtOnce = 4 << 20;
/** The size of one read from a pipe, with -s. source: pipe(7), the capacity of a pipe. */
export const streamChunkBytes = 64 << 10;
/**
 * Output of the handshake, such as a long list of exports, that may wait before the server sends more. choice: the
 * memory that a client may take before it is served.
 */
export const handshakeWaitingBytes = 64 << 10;
/** How long a stopping server waits for a client that takes no output. choice: a user waits for the server to stop. */
export const lingerMs = 2000;
/**
 * The kernel's send buffer of a Unix socket. The default is smaller than one reply of 256 KiB, so each reply would need
 * two writes and a wait in between. TCP sizes its buffers by itself. bench: "The server's processor time", last
 * paragraph.
 */
export const unixSendBytes = 256 << 10;
/**
 * Descriptors that are reserved for layers, which open files for connected clients. choice: connected clients come
 * before new ones.
 */
export const mostReservedDescriptors = 256;
/**
 * Attempts to find a port that is free on all addresses of a name, if the kernel chooses the port. choice: a user waits
 * for the server to start.
 */
export const mostPortChoices = 20;
/**
 * The interval at which paused clients are checked for having left. Bun does not poll paused sockets. choice: what a
 * client holds, such as a lock, is freed so much later.
 */
export const hangupCheckMs = 100;
/** The interval at which the memory is checked while clients are active. bench: "Abuse". */
export const memoryLookMs = 1000;
/** Checks to wait after a client left while others stay active. bench: "Abuse". */
export const mostBusyLooks = 5;
/**
 * Collections in a row. choice: the memory of a burst goes back even if one of them misses objects, to which the stack
 * still refers. bench: "Limits".
 */
export const mostCollections = 3;
/**
 * A collection takes some milliseconds. It pays off after a growth by this many bytes or by this share, whichever is
 * more. bench: "Abuse".
 */
export const leastGrowth = { bytes: 8 << 20, share: 0.1 };

/**
 * The tuned numbers of this room. Bytes, milliseconds and counts as the names say; "bench" is a section of
 * bench/README.md that shows what the number is worth.
 */

/** Pipes with replies that clients have not taken yet. Each takes two descriptors; other replies are read instead. */
export const mostPipes = 32;
/** Empty pipes that are kept for the next replies. The largest reply, 32 MiB, needs five. */
export const mostSparePipes = 8;
/** What GnuTLS recommends for a handshake, and what nbdkit allows. */
export const tlsHandshakeMs = 40_000;
/** What a client may send for the TLS handshake. Long chains of certificates take some ten KiB. */
export const tlsHandshakeBytes = 1 << 20;
/** Encrypted output that waits for a client that takes nothing, beyond what it is given at once. */
export const tlsPendingBytes = 1 << 20;
/** Output of this size keeps the memory in which it was encrypted; smaller output is copied and returns it. */
export const tlsKeptFromBytes = 64 << 10;
/** Encrypted input of one client in one turn of the event loop, so that other clients have theirs. */
export const tlsReceivedAtOnce = 1 << 20;
/**
 * Input of one client in one turn of the event loop, so that other clients have theirs. bench: "The server's processor
 * time", writes.
 */
export const receivedAtOnce = 4 << 20;
/** Input that is read from a pipe in one go, with -s. */
export const streamChunkBytes = 64 << 10;
/** Output that waits during the handshake before the server sends more, such as a long list of exports. */
export const handshakeWaitingBytes = 64 << 10;
/** How long a stopping server waits for a client that takes no output. */
export const lingerMs = 2000;
/**
 * The kernel's send buffer of a Unix socket. Its default is less than one reply of 256 KiB, so that each reply would
 * cost two writes and a wait in between. TCP sizes its buffers itself. bench: "The server's
 * processor time", last paragraph.
 */
export const unixSendBytes = 256 << 10;
/** Descriptors that are kept for layers, which open files for the clients that are connected. */
export const mostReservedDescriptors = 256;
/** Tries to find a port that is free on all addresses of a name, when the kernel chooses it. */
export const mostPortChoices = 20;
/** How often a client whose input is paused is checked for having left: Bun does not watch paused sockets. */
export const hangupCheckMs = 100;
/** How often the memory is looked at while clients are active. bench: "Abuse". */
export const memoryLookMs = 1000;
/** Looks that go by after a client left while others stay active. bench: "Abuse". */
export const mostBusyLooks = 5;
/** Collections in a row. One may miss a little, since the stack may still refer to it. */
export const mostCollections = 3;
/**
 * A collection takes some milliseconds. It is worth it for a growth of this many bytes or this share of the level,
 * whichever is more. bench: "Abuse".
 */
export const leastGrowth = { bytes: 8 << 20, share: 0.1 };

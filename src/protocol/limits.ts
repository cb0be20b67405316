/**
 * The tuned numbers of this room: bytes or counts, as the names say. "bench" names the section of bench/README.md that
 * shows the worth of a number.
 */
import { MAX_REQUEST_BYTES } from "./constants.ts";

/** Requests of one connection in flight. source: twice the queue depth of the Linux client, which is 128. */
export const mostInFlight = 256;
/**
 * Memory that requests in flight may hold: one of the largest, or many small ones. choice: the memory that a client may
 * take.
 */
export const mostBytesInFlight = MAX_REQUEST_BYTES;
/** Replies that may wait while the kernel takes no output. bench: "Limits". */
export const aheadBytes = 512 << 10;
/**
 * After so many reads in a row were answered at once, the next one is read straight into the output's block. bench:
 * "Limits".
 */
export const trustedReads = 16;
/**
 * Shorter reads are copied, many into one write, which is cheaper than sending them from the file. bench: "The server's
 * processor time", last paragraph.
 */
export const leastFromFileBytes = 32 << 10;
/** Longer reads run on another thread of the file plugin, while other clients are served. bench: "Limits". */
export const mostFromFileBytes = 4 << 20;
/** Shorter reads cost no more than a question for extents. bench: "Holes". */
export const leastAsHolesBytes = 64 << 10;
/** Shorter zeroes are read: a chunk of their own, and one more read after it, would cost more. bench: "Limits". */
export const smallestHoleBytes = 16 << 10;
/**
 * After so many useless questions for extents, the next ones are postponed, each time for twice as many reads. bench:
 * "Limits".
 */
export const mostUselessQuestions = 4;
/** The most reads for which a question is postponed. bench: "Limits". */
export const mostPostponedReads = 64;
/**
 * Memory that is taken for the data of a WRITE before any of it arrives: a client may announce much and send nothing.
 * choice: the memory that such a client may take.
 */
export const firstPayloadBytes = 1 << 20;
/**
 * Unread input of the handshake at which the client is paused. choice: the memory that a client may take before it is
 * served.
 */
export const handshakeInputBytes = 64 << 10;
/**
 * The memory that a BLOCK_STATUS counts for: a list of extents may grow to this size. choice: the memory that a client
 * may take.
 */
export const extentsBytes = 4 << 20;
/**
 * Replies up to this size, with their header, are copied behind others, which is cheaper than a write of their own.
 * bench: "TypeScript offset over TypeScript file".
 */
export const copiedReplyBytes = (32 << 10) + 64;
/**
 * The first reply buffer of a connection. Most of a thousand clients may be silent. bench: "Two thousand clients at
 * once".
 */
export const firstReplyBytes = 4 << 10;
/** The block of a busy connection. It holds the replies of one turn. bench: "Limits". */
export const fullBlockBytes = 256 << 10;
/**
 * Replies of this size are written before the batch is complete, so that the client can work on them meanwhile. bench:
 * "Limits".
 */
export const flushedBytes = 64 << 10;
/** Free blocks that a connection keeps for reuse. The garbage collector gets the rest. bench: "Limits". */
export const keptBlockBytes = 4 << 20;
/**
 * After a write of this size, the header of the next one is received alone, so that its data goes straight into the
 * block for the layers. bench: "The server's processor time", writes.
 */
export const bulkWriteBytes = 64 << 10;

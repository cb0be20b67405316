/**
 * The tuned numbers of this room. Bytes and counts as the names say; "bench" is a section of bench/README.md that shows
 * what the number is worth.
 */
import { MAX_REQUEST_BYTES } from "./constants.ts";

/** Requests of one connection that layers have not answered. */
export const mostInFlight = 256;
/** Memory that those requests may hold: one of the largest, or many small ones. */
export const mostBytesInFlight = MAX_REQUEST_BYTES;
/** Replies that are made ready while the kernel takes no output. bench: "What clients leave behind". */
export const aheadBytes = 512 << 10;
/** Reads in a row that were answered at once, after which the next one is read into the reply buffer, too. */
export const trustedReads = 16;
/** Shorter reads are copied, many into one write, which is cheaper than to send them from a file. */
export const leastFromFileBytes = 32 << 10;
/** Longer reads go to another thread of the file plugin, while others are served. */
export const mostFromFileBytes = 4 << 20;
/** Shorter reads cost no more than to ask for extents. bench: "Holes". */
export const leastAsHolesBytes = 64 << 10;
/** Shorter zeroes are read: a chunk of their own, and one more read after them, would cost more. */
export const smallestHoleBytes = 16 << 10;
/** Questions for extents in vain, after which the next ones are put off, for twice as many reads each time. */
export const holePatience = 4;
/** Reads for which a question is put off at most. */
export const longestHoleRest = 64;
/** Memory for the data of a WRITE before any of it came: a client may announce much and send nothing. */
export const firstPayloadBytes = 1 << 20;
/** Input of the handshake that waits unread before the client is paused. */
export const handshakeInputBytes = 64 << 10;
/** What a BLOCK_STATUS counts for: a list of extents may become that large. */
export const extentsBytes = 4 << 20;
/**
 * A reply of this size, with its header, is copied beside others, which is cheaper than a write of its own. bench:
 * "TypeScript offset over TypeScript file".
 */
export const copiedReplyBytes = (32 << 10) + 64;
/**
 * The first reply buffer of a connection. Most of a thousand clients may be silent. bench: "Two thousand clients at
 * once".
 */
export const firstReplyBytes = 4 << 10;
/** The block that a connection gets while it is busy: replies of one turn lie in it side by side. */
export const fullBlockBytes = 256 << 10;
/** Replies of this size are written before the rest of a batch is done: the client works on them meanwhile. */
export const flushedBytes = 64 << 10;
/** Blocks of a connection that are kept for later; more is left to the garbage collector. */
export const keptBlockBytes = 4 << 20;

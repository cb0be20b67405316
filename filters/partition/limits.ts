/** The tuned numbers of this filter. Bytes and counts as the names say. */

/**
 * The array of GPT entries: 1000 times the size that tools make. Every connection reads it all for its checksum.
 * choice: how long a damaged disk may keep the server busy.
 */
export const mostArrayBytes = 16 << 20;
/**
 * The array is read in parts of this size. Tools make arrays of 16 KiB. choice: the memory that a damaged disk may
 * take.
 */
export const arrayPartBytes = 64 << 10;
/**
 * Logical partitions: more than any tool makes. Each costs a read. choice: how long a damaged disk may keep the server
 * busy.
 */
export const mostLinks = 1024;

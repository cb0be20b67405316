/** The tuned numbers of this filter. Bytes and counts as the names say. */

/**
 * The most bytes that one step copies from the layer below. choice: the memory that a request takes besides its own.
 */
export const copiedBytes = 32 << 20;
/**
 * The most bytes of the disk that get adjacent places in the overlay when the first of them is written. With large
 * blocks it keeps the overlay below the largest file that its file system supports. source: ext4, whose files have at
 * most 16 TiB.
 */
export const pageBytes = 1 << 30;
/** Blocks that get adjacent places, where these are fewer bytes. Their states take 1 KiB of memory. bench: "Limits". */
export const mostPageBlocks = 4096;

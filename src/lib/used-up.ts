/** Gives memory back as soon as it is needed no more, where the collector would find it late. */

/** Less is not worth it. */
const leastBytes = 16 << 10;

/**
 * Free the memory of bytes that nobody else uses, unless something else lies in it too. Sockets deliver each chunk in
 * memory of its own, and until the collector finds what was used up the kernel clears new pages for what comes: that
 * takes longer than to copy the bytes.
 */
export function freeUsedUp({ buffer, byteLength }: Uint8Array): void {
  if (byteLength < leastBytes || byteLength !== buffer.byteLength) return;
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}

/** Frees memory as soon as it is no longer needed, since the collector would find it late. */

import { freedFromBytes } from "./limits.ts";

/**
 * Free the memory of bytes that no other code uses, unless other bytes share the buffer. Sockets
 * deliver each chunk in new memory, and until the collector frees used chunks, the kernel clears
 * new pages for each one, which takes longer than copying the bytes.
 */
export function freeUsedUp({ buffer, byteLength }: Uint8Array): void {
  if (byteLength < freedFromBytes || byteLength !== buffer.byteLength) return;
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}

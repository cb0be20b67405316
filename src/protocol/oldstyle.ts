/** The handshake without options, for clients older than 2011: the server sends one message. */
import { NBDMAGIC, OLDSTYLE_MAGIC } from "./constants.ts";
import type { ExportFacts } from "./export-flags.ts";

/** NBDMAGIC, the magic number, the size, no handshake flags, the transmission flags, zeroes. */
export function oldstyleGreeting({ size, eflags }: ExportFacts): Uint8Array {
  const greeting = new DataView(new ArrayBuffer(8 + 8 + 8 + 2 + 2 + 124));
  greeting.setBigUint64(0, NBDMAGIC);
  greeting.setBigUint64(8, OLDSTYLE_MAGIC);
  greeting.setBigUint64(16, size);
  greeting.setUint16(26, eflags);
  return new Uint8Array(greeting.buffer);
}

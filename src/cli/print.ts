/** Writes to stdout at once, so that lines keep their order with what C modules print. */
import { writeSync } from "node:fs";

export function print(text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(1, bytes, at);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // The reader left, as `head` does: nobody wants the rest.
      if (code === "EPIPE") return;
      // A full pipe that does not block: try again, as a write that blocks would wait.
      if (code !== "EAGAIN") throw error;
    }
  }
}

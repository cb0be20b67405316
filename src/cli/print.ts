/** Writes to stdout at once, so that lines keep their order with what C modules print. */
import { writeSync } from "node:fs";

import { ConfigError } from "../lib/errors.ts";
import { bytesOf } from "../lib/text-bytes.ts";
import { hasRoom } from "../sys/process.ts";

/** `fd`: where stdout is. */
export function print(text: string, fd = 1): void {
  const bytes = bytesOf(text);
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // The reader left, as `head` does: nobody wants the rest.
      if (code === "EPIPE") return;
      if (code !== "EAGAIN") {
        throw new ConfigError(`cannot write to stdout: ${(error as Error).message}`, {
          cause: error,
        });
      }
      // A full pipe that does not block: wait, as a write that blocks would.
      hasRoom(fd, -1);
    }
  }
}

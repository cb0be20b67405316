/** Writes to stdout at once, so that lines keep their order with what C modules print. */
import { writeSync } from "node:fs";

import { ConfigError } from "../lib/errors.ts";
import { bytesOf } from "../lib/text-bytes.ts";
import { messageOf } from "../lib/thrown.ts";
import { hasRoom } from "../sys/process.ts";

/** `fd` is the descriptor of stdout. */
export function print(text: string, fd = 1): void {
  const bytes = bytesOf(text);
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // The reader has left, as `head` does, so drop the rest.
      if (code === "EPIPE") return;
      if (code !== "EAGAIN") {
        throw new ConfigError(`cannot write to stdout: ${messageOf(error)}`, {
          cause: error,
        });
      }
      // A full non-blocking pipe: wait, as a blocking write would.
      hasRoom(fd, -1);
    }
  }
}

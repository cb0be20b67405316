/** Opens files that the command line names for writing: the pid file and the log. */
import { constants, lstatSync, openSync } from "node:fs";

import { filePath } from "../lib/text-bytes.ts";

/**
 * The descriptor of the file, which is created with `mode` if it is missing. The server may be root
 * in a folder of another user, who could have created a symbolic link to one of root's files there.
 * Therefore the server follows only links that belong to root or to its own user. Throws the error
 * of node:fs, or one that names the link's owner.
 */
export function openOutput(path: string, how: "append" | "replace", mode: number): number {
  const name = filePath(path);
  const { O_APPEND, O_CREAT, O_NOCTTY, O_NOFOLLOW, O_TRUNC, O_WRONLY } = constants;
  const flags = O_WRONLY | O_CREAT | O_NOCTTY | (how === "append" ? O_APPEND : O_TRUNC);
  try {
    return openSync(name, flags | O_NOFOLLOW, mode);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ELOOP") throw error;
    const { uid } = lstatSync(name);
    if (uid !== 0 && uid !== process.geteuid?.()) {
      const message = `a symbolic link of another user (${uid}) is not followed`;
      throw new Error(message, { cause: error });
    }
    return openSync(name, flags, mode);
  }
}

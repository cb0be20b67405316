/** Paths of the command line. */
import { readlinkSync, realpathSync } from "node:fs";

import { ConfigError } from "./errors.ts";
import { filePath, textOf } from "./text-bytes.ts";

/**
 * The path from the root on, since a daemon changes its directory: nbdkit_absolute_path. `link/..` stays as it is: only
 * the kernel knows where that leads to.
 */
export function absolutePath(path: string): string {
  if (path.startsWith("/")) return path;
  const folder = currentFolder(path);
  return folder === "/" ? `/${path}` : `${folder}/${path}`;
}

/** Where the path leads to, through all links: nbdkit_realpath. Throws what node:fs throws. */
export function realPath(path: string): string {
  // Without `native`, `link/..` would be taken away before links are followed.
  return textOf(realpathSync.native(filePath(path), "buffer"));
}

function currentFolder(wanted: string): string {
  try {
    const folder = process.cwd();
    return folder.includes("\ufffd") ? textOf(readlinkSync("/proc/self/cwd", "buffer")) : folder;
  } catch (error) {
    throw new ConfigError(
      `${wanted}: the current folder is gone: expected a path that starts with /`,
      { cause: error },
    );
  }
}

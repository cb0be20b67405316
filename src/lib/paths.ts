/** Paths of the command line. */
import { readlinkSync, realpathSync } from "node:fs";

import { ConfigError } from "./errors.ts";
import { filePath, textOf } from "./text-bytes.ts";

/**
 * The absolute path, since a daemon changes its directory: nbdkit_absolute_path. `link/..` is
 * kept: only the kernel knows where it leads.
 */
export function absolutePath(path: string): string {
  if (path.startsWith("/")) return path;
  const folder = currentFolder(path);
  return folder === "/" ? `/${path}` : `${folder}/${path}`;
}

/** The path with all links resolved: nbdkit_realpath. Throws the errors of node:fs. */
export function realPath(path: string): string {
  // Without `native`, node:fs would remove `link/..` before it follows links.
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

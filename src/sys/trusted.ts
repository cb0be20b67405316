/**
 * Checks that no other user can replace the file that a path names. Code must only be loaded from such a place.
 * Checking the file alone is not enough, since another user may be able to rename a directory above it.
 */
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  type Stats,
} from "node:fs";

import { filePath } from "../lib/text-bytes.ts";

/** The kernel's own limit. */
const mostLinks = 40;
const writableByOthers = 0o022;
const sticky = 0o1000;

/**
 * Check each directory from the root to `folder`: it must belong to root or this user, and only its owner may write to
 * it. Directories above `folder` may be sticky, such as /tmp, where users can only rename files of their own. Symbolic
 * links of root or this user are followed. Throws an error that names the directory at fault.
 *
 * With `mode`, missing directories are created.
 */
export function checkFolder(folder: string, mode?: number): void {
  const last = checkWay(folder, mode);
  checkMode(last, lstatSync(filePath(last)));
}

/** The same check, but `folder` may be sticky: for files that this process creates in it. */
export function checkParent(folder: string): void {
  checkWay(folder);
}

function checkWay(folder: string, mode?: number): string {
  let names = folder.split("/").filter(Boolean);
  let at = "";
  let links = 0;
  checkDirectory("/");
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    const path = `${at}/${name}`;
    const stats = lstatMade(path, mode);
    if (stats.isSymbolicLink()) {
      checkOwner(path, stats);
      if (++links > mostLinks) throw new Error(`${folder} has too many symbolic links`);
      const target = readlinkSync(filePath(path));
      if (target.startsWith("/")) at = "";
      names = [...target.split("/").filter(Boolean), ...names];
    } else if (name === "..") {
      at = at.slice(0, Math.max(0, at.lastIndexOf("/")));
    } else if (name !== ".") {
      checkDirectory(path, stats);
      at = path;
    }
  }
  return at === "" ? "/" : at;
}

/**
 * Open a regular file for reading, in a directory that `checkFolder` accepted, and check the open file: it must belong
 * to root or this user, and only its owner may write to it. The caller closes the descriptor.
 */
export function openTrusted(path: string): number {
  const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
  const fd = openSync(filePath(path), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw new Error(`${path} is not a file`);
    checkOwner(path, stats);
    checkMode(path, stats);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function lstatMade(path: string, mode: number | undefined): Stats {
  if (mode === undefined) return lstatSync(filePath(path));
  const found = lstatSync(filePath(path), { throwIfNoEntry: false });
  if (found !== undefined) return found;
  try {
    mkdirSync(filePath(path), mode);
  } catch (error) {
    // Another server may have created it meanwhile.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  return lstatSync(filePath(path));
}

function checkDirectory(path: string, stats: Stats = lstatSync(path)): void {
  if (!stats.isDirectory()) throw new Error(`${path} is not a directory`);
  checkOwner(path, stats);
  if ((stats.mode & sticky) === 0) checkMode(path, stats);
}

/** Accepts the owner of / as root: in a user namespace that does not map root, it has another number. */
function checkOwner(path: string, { uid }: Stats): void {
  const user = process.geteuid?.();
  if (uid === 0 || uid === user || uid === lstatSync("/").uid) return;
  const wanted = user === 0 ? "root" : `root or user ${user}`;
  throw new Error(`${path} belongs to user ${uid}, not to ${wanted}`);
}

function checkMode(path: string, { mode }: Stats): void {
  if ((mode & writableByOthers) === 0) return;
  const shown = (mode & 0o7777).toString(8).padStart(4, "0");
  throw new Error(`other users can write to ${path} (mode ${shown})`);
}

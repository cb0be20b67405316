/** The directories that may keep the compiled native runtime, and those that the compiler works in. */
import { randomUUID } from "node:crypto";
import { accessSync, constants, lstatSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { log } from "#lib/log";
import { messageOf } from "#lib/thrown";
import { checkFolder, checkParent } from "#sys/trusted";

import { oldRuntimeMs, workFolderMs } from "./limits.ts";

export interface KeptFolder {
  readonly path: string;
  /** The mode of directories that are made. */
  readonly mode: number;
}

interface Surroundings {
  /** XDG_CACHE_HOME. */
  readonly cacheHome: string | undefined;
  readonly home: string;
  /** The directory of this package. */
  readonly root: string;
}

/** Root's folder for all users. */
const systemFolder = "/var/cache/nbdkit-bun";

/** The folders that may keep the runtime, the best first. nbdkit(1), "The native runtime". */
export function keptFolders({ cacheHome = "", home, root }: Surroundings): readonly KeptFolder[] {
  return [
    { path: cacheHome === "" ? "" : `${cacheHome}/nbdkit-bun`, mode: 0o700 },
    { path: join(root, "build"), mode: 0o755 },
    { path: systemFolder, mode: 0o755 },
    { path: `${home}/.cache/nbdkit-bun`, mode: 0o700 },
  ].filter(({ path }) => isNameable(path));
}

/**
 * Whether the path is absolute and UTF-8. No code is loaded from the current folder, and Bun would change other names
 * when it starts the compiler.
 */
function isNameable(folder: string): boolean {
  return folder.startsWith("/") && folder.isWellFormed() && !folder.includes("\ufffd");
}

/** Whether this user, and no other user, can write to the folder. A missing folder is made. */
export function canKeep({ path, mode }: KeptFolder): boolean {
  try {
    checkFolder(path, mode);
    accessSync(path, constants.W_OK);
    return true;
  } catch (error) {
    log.debug(`the native runtime is not kept in ${path}: ${messageOf(error)}`);
    return false;
  }
}

/** A new directory in `folder` for the compiler. Disposing of it removes it. */
export class WorkFolder implements Disposable {
  readonly path: string;

  /** Throws the error of node:fs. */
  constructor(folder: string) {
    // A process ID would not be unique, since containers may share the folder.
    this.path = join(folder, `nbdkit-bun-${randomUUID()}.tmp`);
    mkdirSync(this.path, { mode: 0o700 });
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** Folders for the compiler if no folder can keep the runtime, the best first. */
export function temporaryFolders(): readonly string[] {
  return [...new Set([tmpdir(), "/tmp", "/var/tmp"])].filter((folder) => {
    if (!isNameable(folder)) return false;
    try {
      checkParent(folder);
      return true;
    } catch (error) {
      log.debug(`no compiler works in ${folder}: ${messageOf(error)}`);
      return false;
    }
  });
}

/** How long each kind of file may stay. */
const ages = [
  { names: /^nbdkit-bun-.*\.tmp$/, mostMs: workFolderMs },
  { names: /^runtime-.*\.so$/, mostMs: oldRuntimeMs },
];

/** Remove work folders of killed servers and runtimes of earlier versions from a folder that `canKeep`. */
export function removeOldFiles(folder: string): void {
  for (const name of readdirSync(folder)) {
    const kind = ages.find(({ names }) => names.test(name));
    if (kind === undefined) continue;
    const path = join(folder, name);
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found !== undefined && found.mtimeMs < Date.now() - kind.mostMs) {
      rmSync(path, { recursive: true, force: true });
    }
  }
}

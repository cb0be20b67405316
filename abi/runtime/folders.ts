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
  /** Of directories that are made. */
  readonly mode: number;
}

interface Surroundings {
  /** XDG_CACHE_HOME. */
  readonly cacheHome: string | undefined;
  readonly home: string;
  /** The directory of this package. */
  readonly root: string;
}

/** Root's place for all users. */
const systemFolder = "/var/cache/nbdkit-bun";

/** Where the runtime may be kept, the best first. nbdkit(1), "The native runtime". */
export function keptFolders({ cacheHome = "", home, root }: Surroundings): readonly KeptFolder[] {
  return [
    { path: cacheHome === "" ? "" : `${cacheHome}/nbdkit-bun`, mode: 0o700 },
    { path: join(root, "build"), mode: 0o755 },
    { path: systemFolder, mode: 0o755 },
    { path: `${home}/.cache/nbdkit-bun`, mode: 0o700 },
  ].filter(({ path }) => isNameable(path));
}

/**
 * Not relative, since the current folder runs no code, and UTF-8: Bun starts the compiler with
 * other names otherwise.
 */
function isNameable(folder: string): boolean {
  return folder.startsWith("/") && folder.isWellFormed() && !folder.includes("\ufffd");
}

/** Whether this user, and no other user, can write to the folder. It is made where it is missing. */
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

/** A new directory in `folder` that the compiler works in. Disposing of it removes it. */
export class WorkFolder implements Disposable {
  readonly path: string;

  /** Throws the error of node:fs. */
  constructor(folder: string) {
    // Numbers of processes are not enough: containers may share the folder.
    this.path = join(folder, `nbdkit-bun-${randomUUID()}.tmp`);
    mkdirSync(this.path, { mode: 0o700 });
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** Where the compiler may work if the runtime cannot be kept, the best first. */
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

/** Remove, from a folder that `canKeep`, what killed servers left and the runtimes of earlier versions. */
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

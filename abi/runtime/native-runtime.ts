/** Loads the native runtime so that modules find `nbdkit_*` in it, and compiles it first where it is kept nowhere. */
import { dlopen, type FFIFunction } from "bun:ffi";
import { appendFileSync, existsSync, renameSync, statfsSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

import { ConfigError } from "#api";
import { errnoName, errnoText } from "#lib/errno";
import { log } from "#lib/log";
import { messageOf } from "#lib/thrown";
import { type LibraryFile, openLibrary } from "#sys/load-library";
import { endAsC } from "#sys/process";
import { cString } from "#sys/text";
import { checkFolder } from "#sys/trusted";

import { runtimeSymbols } from "../generated/symbols.gen.ts";
import { compilerName, compileRuntime, runtimeName } from "./compiler.ts";
import {
  canKeep,
  type KeptFolder,
  keptFolders,
  removeOldFiles,
  temporaryFolders,
  WorkFolder,
} from "./folders.ts";
import { compilingBytes } from "./limits.ts";

type Symbols = typeof runtimeSymbols;
type Native = ReturnType<typeof dlopen<Symbols & Record<string, FFIFunction>>>["symbols"];
export type { Native };

let opened: Native | undefined;

/** Load the runtime into the global scope, once. Throws ConfigError. */
export function openRuntime(): Native {
  if (opened !== undefined) return opened;
  opened = named(withOwnSymbols(load()));
  endAsC();
  return opened;
}

/** Its lines start as those of JavaScript do. */
function named(native: Native): Native {
  if (log.serverName !== undefined) native.rt_set_server_name(cString(log.serverName));
  return native;
}

/**
 * The functions of the runtime. Modules find none of them and none of Bun's afterwards: theirs may
 * have the same names.
 */
function withOwnSymbols(path: string): Native {
  const { symbols } = dlopen(path, runtimeSymbols);
  const err = symbols.rt_hide_symbols();
  if (err !== 0) {
    log.error(`C modules may call functions of Bun by mistake: ${errnoText(errnoName(err))}`);
  }
  return symbols;
}

/** Why the library of a folder cannot be loaded, by folder. */
type Failures = Map<string, string>;

/** Returns the name by which the loader finds it again. */
function load(): string {
  const name = runtimeName();
  const root = join(import.meta.dir, "../..");
  const folders = keptFolders({ cacheHome: process.env["XDG_CACHE_HOME"], home: homedir(), root });
  const failures: Failures = new Map();
  return loadKept(folders, name, failures) ?? loadNew(folders, name, failures);
}

function loadKept(
  folders: readonly KeptFolder[],
  name: string,
  failures: Failures,
): string | undefined {
  for (const { path: folder } of folders) {
    const path = join(folder, name);
    if (!existsSync(path)) continue;
    try {
      checkFolder(folder);
      using library = openLibrary(path);
      if (!isIntact(library.bytes)) throw new Error(`${path} is not complete`);
      const loaded = tryLoad(library, folder, failures);
      if (loaded !== undefined) return loaded;
    } catch (error) {
      log.debug(`the native runtime in ${folder} is not used: ${messageOf(error)}`);
    }
  }
  return undefined;
}

/** Compiles it in the first folder that can keep it, else in a temporary one. */
function loadNew(folders: readonly KeptFolder[], name: string, failures: Failures): string {
  let compiled: Uint8Array | undefined;
  for (const { folder, isKept } of placesFor(folders, failures)) {
    if (!hasRoom(folder, failures)) continue;
    using work = makeWorkFolder(folder, failures);
    if (work === undefined) continue;
    const draft = join(work.path, name);
    if (compiled === undefined) announce(isKept ? folder : undefined, folders);
    if (!fill(draft, work.path, compiled)) {
      failures.set(folder, `${folder} has no room`);
      continue;
    }
    using library = openLibrary(draft);
    compiled = library.bytes;
    if (isKept) keep(library, join(folder, name));
    const loaded = tryLoad(library, folder, failures);
    if (loaded !== undefined) return loaded;
  }
  throw noPlace(compiled !== undefined, failures);
}

/** Make the draft of what was compiled before, or compile it. False where the file system is full. */
function fill(draft: string, work: string, compiled: Uint8Array | undefined): boolean {
  if (compiled === undefined) return compileRuntime(draft, work);
  try {
    writeFileSync(draft, compiled);
    return true;
  } catch (error) {
    log.debug(`the native runtime cannot be copied: ${messageOf(error)}`);
    return false;
  }
}

/** One by one, since a folder is made only where those before it do not do. */
function* placesFor(folders: readonly KeptFolder[], failures: Failures) {
  for (const folder of folders) {
    if (failures.has(folder.path) || !canKeep(folder)) continue;
    removeOldFiles(folder.path);
    yield { folder: folder.path, isKept: true };
  }
  for (const folder of temporaryFolders()) yield { folder, isKept: false };
}

function noPlace(isCompiled: boolean, failures: Failures): ConfigError {
  const reasons = [...failures.values()].join("; ");
  return new ConfigError(
    isCompiled
      ? `the native runtime cannot be loaded: ${reasons}: ` +
          "set XDG_CACHE_HOME or TMPDIR to a folder on a file system that allows programs"
      : `C modules need a folder to compile the native runtime in: ${reasons}: ` +
          "set XDG_CACHE_HOME or TMPDIR to a folder that can be written to and has 4 MB of room",
  );
}

/** One line, since the server is silent for seconds. */
function announce(keptIn: string | undefined, folders: readonly KeptFolder[]): void {
  const what = `compiling the native runtime with ${compilerName}, which takes some seconds`;
  if (keptIn !== undefined) log.notice(`${what}: it is kept in ${keptIn}`);
  else {
    const all = folders.map(({ path }) => path).join(", ");
    log.warning(
      `${what}, at every start: it can be kept in none of ${all} (-v says why): ` +
        "make one of them, or set XDG_CACHE_HOME to a folder that only this user can write to",
    );
  }
}

/** Whether the folder's file system is not full. Compiling takes seconds before that fails. */
function hasRoom(folder: string, failures: Failures): boolean {
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize >= compilingBytes) return true;
  failures.set(folder, `${folder} has no room`);
  log.debug(`the native runtime is not kept in ${folder}: its file system is full`);
  return false;
}

function makeWorkFolder(folder: string, failures: Failures): WorkFolder | undefined {
  try {
    return new WorkFolder(folder);
  } catch (error) {
    failures.set(folder, messageOf(error));
    return undefined;
  }
}

function tryLoad(library: LibraryFile, folder: string, failures: Failures): string | undefined {
  try {
    return library.load();
  } catch (error) {
    // It may also have been compiled on another machine, for another libc.
    const reason = messageOf(error);
    log.debug(`the native runtime cannot be used: ${reason}`);
    failures.set(folder, reason);
    return undefined;
  }
}

/** What follows the library in its file: the SHA-256 of the library. The loader does not look there. */
const digestBytes = 32;

/** A crash may have left a part of the file, or nothing. The process would die of loading that. */
function isIntact(file: Uint8Array): boolean {
  const end = Math.max(0, file.length - digestBytes);
  return digest(file.subarray(0, end)).equals(file.subarray(end));
}

function digest(library: Uint8Array): Buffer {
  return new Bun.CryptoHasher("sha256").update(library).digest();
}

/** The draft gets its last name when it is complete. Without that it can still be loaded. */
function keep({ path: draft, bytes }: LibraryFile, path: string): void {
  try {
    appendFileSync(draft, digest(bytes));
    renameSync(draft, path);
  } catch (error) {
    log.warning(`the native runtime cannot be kept as ${path}: ${messageOf(error)}`);
  }
}

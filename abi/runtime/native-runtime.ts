/** Loads the native runtime, in which modules find `nbdkit_*`, and compiles it first if no folder has it. */
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

/** Log lines of C start like those of JavaScript. */
function named(native: Native): Native {
  if (log.serverName !== undefined) native.rt_set_server_name(cString(log.serverName));
  return native;
}

/**
 * The functions of the runtime. They and Bun's are then hidden from modules, whose functions may have the same names.
 */
function withOwnSymbols(path: string): Native {
  const { symbols } = dlopen(path, runtimeSymbols);
  const err = symbols.rt_hide_symbols();
  if (err !== 0) {
    log.error(`C modules may call functions of Bun by mistake: ${errnoText(errnoName(err))}`);
  }
  return symbols;
}

/** Why a folder's library cannot be loaded, by folder. */
type Failures = Map<string, string>;

/** Load the runtime, and return the name by which dlopen(3) finds it again. */
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

/** Compile the runtime in the first folder that can keep it, or in a temporary one. */
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
    checkUnchanged(name);
    using library = openLibrary(draft);
    compiled = library.bytes;
    if (isKept) keep(library, join(folder, name));
    const loaded = tryLoad(library, folder, failures);
    if (loaded !== undefined) return loaded;
  }
  throw noPlace(compiled !== undefined, failures);
}

/** An update may replace the sources while the compiler reads them. The result must not be kept under either name. */
function checkUnchanged(name: string): void {
  if (runtimeName() === name) return;
  throw new ConfigError(
    "the sources of the native runtime changed while they were compiled: start the server again",
  );
}

/** Write the library that is compiled already, or compile it. Returns false if the file system is full. */
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

/** A generator, since a folder should be made only if the ones before it cannot be used. */
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

/** Log one line, since compiling takes seconds. */
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

/** Whether the folder's file system has room. The compiler would find out only after some seconds. */
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
    // For example, it may have been compiled on another machine, for another libc.
    const reason = messageOf(error);
    log.debug(`the native runtime cannot be used: ${reason}`);
    failures.set(folder, reason);
    return undefined;
  }
}

/** The SHA-256 of the library follows it in its file. The loader ignores these bytes. */
const digestBytes = 32;

/** Whether the file is complete. After a crash of the machine it may not be, and loading it would crash the process. */
function isIntact(file: Uint8Array): boolean {
  const end = Math.max(0, file.length - digestBytes);
  return digest(file.subarray(0, end)).equals(file.subarray(end));
}

function digest(library: Uint8Array): Buffer {
  return new Bun.CryptoHasher("sha256").update(library).digest();
}

/** Rename the complete file. If that fails, this server can still load it by its first name. */
function keep({ path: draft, bytes }: LibraryFile, path: string): void {
  try {
    appendFileSync(draft, digest(bytes));
    renameSync(draft, path);
  } catch (error) {
    log.warning(`the native runtime cannot be kept as ${path}: ${messageOf(error)}`);
  }
}

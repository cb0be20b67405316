/** Compiles the native runtime when its sources have changed, and loads it so that modules find `nbdkit_*` in it. */
import { dlopen, type FFIFunction } from "bun:ffi";
import { randomUUID } from "node:crypto";
import {
  accessSync,
  appendFileSync,
  constants,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { homedir, tmpdir, userInfo } from "node:os";
import { join } from "node:path";

import { ConfigError } from "#api";
import { errnoName } from "#lib/errno";
import { log } from "#lib/log";
import { messageOf } from "#lib/thrown";

import { runtimeSymbols } from "./generated/symbols.gen.ts";
import { openLibc } from "./libc.ts";
import { cString } from "./text.ts";

const root = join(import.meta.dir, "..");
const folders = ["include", "abi/runtime", "abi/generated"] as const;
/** The compiler and its own flags: CC may be `ccache gcc`. */
const compiler = (process.env["CC"] ?? "").split(/\s+/).filter(Boolean);
if (compiler.length === 0) compiler.push("cc");
const flags = [
  "-std=c11",
  "-O2",
  "-g",
  "-fPIC",
  "-shared",
  "-pthread",
  "-Wall",
  "-Wextra",
  "-Werror",
  "-fvisibility=hidden",
];

/** The C files of the runtime and the headers that they include. */
function runtimeSources(): { readonly sources: string[]; readonly headers: string[] } {
  const files = folders.flatMap((folder) =>
    readdirSync(join(root, folder))
      .toSorted()
      .map((name) => join(root, folder, name)),
  );
  return {
    sources: files.filter((file) => file.endsWith(".c")),
    headers: files.filter((file) => file.endsWith(".h")),
  };
}

/** The compiled runtime's path in `cache`; compiles it first where it is missing or older sources were compiled. */
function compiledRuntime(cache: string): string {
  const { sources, headers } = runtimeSources();
  const hash = new Bun.CryptoHasher("sha256");
  hash.update([...compiler, ...flags, process.arch].join("\0"));
  for (const file of [...sources, ...headers]) hash.update(readFileSync(file)).update("\0");
  const name = `runtime-${hash.digest("hex").slice(0, 24)}.so`;
  const target = join(cache, name);
  if (!isIntact(target)) compile(sources, target, cache);
  return target;
}

/** What follows the library in its file: the SHA-256 of the library. The loader does not look there. */
const digestBytes = 32;

/** A crash may have left a part of the file, or nothing. The process would die of loading that. */
function isIntact(target: string): boolean {
  let file;
  try {
    file = readFileSync(target);
  } catch {
    return false;
  }
  const end = Math.max(0, file.length - digestBytes);
  return digest(file.subarray(0, end)).equals(file.subarray(end));
}

function digest(library: Uint8Array): Buffer {
  return new Bun.CryptoHasher("sha256").update(library).digest();
}

/** Folders that only we can write to, the best first. */
function* cacheFolders(): Generator<string> {
  const bases = [process.env["XDG_CACHE_HOME"] ?? "", `${homedir()}/.cache`];
  for (const base of bases.filter(isNameable)) {
    const folder = join(base, "nbdkit-bun");
    if (isOurs(folder)) yield folder;
  }
  // Nothing is kept then: a shared temporary folder could hold somebody else's library.
  const base = isNameable(tmpdir()) ? tmpdir() : "/tmp";
  const folder = temporaryFolder(join(base, `nbdkit-bun-${userInfo().username}-`));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  yield folder;
}

/** Another user could put a library there that we would run: HOME may still be that of whoever called sudo. */
function isOurs(folder: string): boolean {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    accessSync(folder, constants.W_OK);
    const { mode, uid } = statSync(folder);
    if (uid === process.geteuid?.() && (mode & 0o022) === 0) return true;
    log.debug(`${folder} is not used for the native runtime: others may write to it`);
  } catch (error) {
    log.debug(`${folder} is not used for the native runtime: ${messageOf(error)}`);
  }
  return false;
}

/** Not relative, as the folder changes, and nothing that is not UTF-8: Bun starts the compiler with other names then. */
function isNameable(folder: string): boolean {
  return folder.startsWith("/") && !folder.includes("\ufffd");
}

function temporaryFolder(prefix: string): string {
  try {
    return mkdtempSync(prefix);
  } catch (error) {
    const reason = messageOf(error);
    throw new ConfigError(
      `C modules need a folder for the native runtime, and there is none to write to: ${reason}: ` +
        "set XDG_CACHE_HOME or TMPDIR",
      { cause: error },
    );
  }
}

function compile(sources: readonly string[], target: string, cache: string): void {
  log.debug(`compiling the native runtime into ${target}`);
  removeOldDrafts(cache);
  // Numbers of processes are not enough: containers may share the folder.
  const draft = `${target}.${randomUUID()}.tmp`;
  const includes = folders.map((folder) => `-I${join(root, folder)}`);
  let result;
  try {
    result = Bun.spawnSync([...compiler, ...flags, ...includes, "-o", draft, ...sources, "-ldl"], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      // Without one a compiler does not find its own parts.
      env: { ...process.env, PATH: process.env["PATH"] ?? "/usr/local/bin:/usr/bin:/bin" },
    });
  } catch (error) {
    throw new ConfigError(
      `C modules need a C compiler once, to build the native runtime: cannot run ${compiler.join(" ")}: ` +
        "install gcc and libc6-dev, or set CC",
      { cause: error },
    );
  }
  if (!result.success) {
    rmSync(draft, { force: true });
    const end = result.signalCode ?? `status ${result.exitCode}`;
    throw new ConfigError(
      `the native runtime could not be compiled by ${compiler.join(" ")} in ${cache} (${end}):\n${result.stderr.toString()}`,
    );
  }
  try {
    appendFileSync(draft, digest(readFileSync(draft)));
    renameSync(draft, target);
  } catch (error) {
    rmSync(draft, { force: true });
    const reason = messageOf(error);
    throw new ConfigError(`the native runtime cannot be kept in ${cache}: ${reason}`, {
      cause: error,
    });
  }
}

const hourMs = 3_600_000;

/** What compilers left that were killed. No compiler takes an hour. */
function removeOldDrafts(cache: string): void {
  for (const name of readdirSync(cache)) {
    if (!name.endsWith(".tmp")) continue;
    const path = join(cache, name);
    const found = statSync(path, { throwIfNoEntry: false });
    if (found !== undefined && found.mtimeMs < Date.now() - hourMs) rmSync(path, { force: true });
  }
}

type Symbols = typeof runtimeSymbols;
type Native = ReturnType<typeof dlopen<Symbols & Record<string, FFIFunction>>>["symbols"];
export type { Native };

const RTLD_NOW = 2;
const RTLD_GLOBAL = 0x100;

let opened: Native | undefined;

/** Load the runtime into the global scope, once. */
export function openRuntime(): Native {
  if (opened !== undefined) return opened;
  const reasons: string[] = [];
  for (const folder of cacheFolders()) {
    const path = compiledRuntime(folder);
    const reason = loadGlobally(path);
    if (reason === undefined) return (opened = named(withOwnSymbols(path)));
    // The file system forbids it (noexec), or it was compiled on another machine, for another libc.
    log.debug(`the native runtime cannot be used: ${reason}`);
    reasons.push(reason);
  }
  throw new ConfigError(
    `the native runtime cannot be loaded: ${reasons.join("; ")}: ` +
      "set XDG_CACHE_HOME or TMPDIR to a folder on a file system that allows programs",
  );
}

/** Its lines start as those of JavaScript do. */
function named(native: Native): Native {
  if (log.serverName !== undefined) native.rt_set_server_name(cString(log.serverName));
  return native;
}

/** The functions of the runtime. Modules find none of them and none of Bun's afterwards: theirs may have the same names. */
function withOwnSymbols(path: string): Native {
  const { symbols } = dlopen(path, runtimeSymbols);
  const err = symbols.rt_hide_symbols();
  if (err !== 0) log.error(`C modules may call functions of Bun by mistake: ${errnoName(err)}`);
  return symbols;
}

/** Let modules find it. Returns why they cannot. */
function loadGlobally(path: string): string | undefined {
  const libc = openLibc({
    dlopen: { args: ["cstring", "i32"], returns: "ptr" },
    dlerror: { args: [], returns: "cstring" },
  });
  return libc.dlopen(path, RTLD_NOW | RTLD_GLOBAL) === null ? String(libc.dlerror()) : undefined;
}

/** Compiles the native runtime when its sources have changed, and loads it so that modules find `nbdkit_*` in it. */
import { dlopen, type FFIFunction } from "bun:ffi";
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
} from "node:fs";
import { homedir, tmpdir, userInfo } from "node:os";
import { join } from "node:path";

import { ConfigError } from "#api";
import { log } from "#lib/log";

import { runtimeSymbols } from "./generated/symbols.gen.ts";
import { openLibc } from "./libc.ts";

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

/** The compiled runtime's path; compiles it first where it is missing or older sources were compiled. */
function compiledRuntime(): string {
  const { sources, headers } = runtimeSources();
  const hash = new Bun.CryptoHasher("sha256");
  hash.update([...compiler, ...flags, process.arch].join("\0"));
  for (const file of [...sources, ...headers]) hash.update(readFileSync(file)).update("\0");
  const name = `runtime-${hash.digest("hex").slice(0, 24)}.so`;
  const cache = cacheFolder();
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

/** A folder of ours that only we can write to. */
function cacheFolder(): string {
  const base = process.env["XDG_CACHE_HOME"];
  const choices = [
    base !== undefined && base.startsWith("/") ? join(base, "nbdkit-bun") : undefined,
    join(homedir(), ".cache", "nbdkit-bun"),
  ];
  for (const folder of choices) {
    if (folder === undefined) continue;
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      accessSync(folder, constants.W_OK);
      return folder;
    } catch {
      // Not writable: try the next one.
    }
  }
  // Nothing is kept then: a shared temporary folder could hold somebody else's library.
  const folder = temporaryFolder(join(tmpdir(), `nbdkit-bun-${userInfo().username}-`));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function temporaryFolder(prefix: string): string {
  try {
    return mkdtempSync(prefix);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConfigError(
      `C modules need a folder for the native runtime, and there is none to write to: ${reason}: ` +
        "set XDG_CACHE_HOME or TMPDIR",
      { cause: error },
    );
  }
}

function compile(sources: readonly string[], target: string, cache: string): void {
  log.debug(`compiling the native runtime into ${target}`);
  const draft = `${target}.${process.pid}.tmp`;
  const includes = folders.map((folder) => `-I${join(root, folder)}`);
  let result;
  try {
    result = Bun.spawnSync([...compiler, ...flags, ...includes, "-o", draft, ...sources, "-ldl"], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
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
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConfigError(`the native runtime cannot be kept in ${cache}: ${reason}`, {
      cause: error,
    });
  }
}

type Symbols = typeof runtimeSymbols;
type Native = ReturnType<typeof dlopen<Symbols & Record<string, FFIFunction>>>["symbols"];
export type { Native };

const RTLD_NOW = 2;
const RTLD_GLOBAL = 0x100;

/** Load the runtime into the global scope, once. */
export function openRuntime(): Native {
  const path = compiledRuntime();
  const libc = openLibc({
    dlopen: { args: ["cstring", "i32"], returns: "ptr" },
    dlerror: { args: [], returns: "cstring" },
  });
  if (libc.dlopen(path, RTLD_NOW | RTLD_GLOBAL) === null) {
    throw new ConfigError(`the native runtime cannot be loaded: ${libc.dlerror()}`);
  }
  return dlopen(path, runtimeSymbols).symbols;
}

/** Compiles the native runtime. */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

import { ConfigError } from "#api";
import { log } from "#lib/log";
import { messageOf } from "#lib/thrown";
import { checkFolder } from "#sys/trusted";

const root = join(import.meta.dir, "../..");
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

/** As the user calls it. */
export const compilerName: string = compiler.join(" ");

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

/** The file's name, which is another one when the sources or the compiler change. */
export function runtimeName(): string {
  const { sources, headers } = runtimeSources();
  const hash = new Bun.CryptoHasher("sha256");
  hash.update([...compiler, ...flags, process.arch].join("\0"));
  for (const file of [...sources, ...headers]) hash.update(readFileSync(file)).update("\0");
  return `runtime-${hash.digest("hex").slice(0, 24)}.so`;
}

/**
 * Write it to `output`. The compiler uses nothing of the current folder, and puts its own files
 * into `work`. False where the file system of that is full.
 */
export function compileRuntime(output: string, work: string): boolean {
  const { sources } = runtimeSources();
  const includes = folders.map((folder) => `-I${join(root, folder)}`);
  const [program = "", ...words] = compiler;
  // A name without / is looked for before the current folder changes.
  const path = program.includes("/")
    ? resolve(program)
    : Bun.which(program, { PATH: searchPath(), cwd: "/" });
  let result;
  try {
    const args = [...words, ...flags, ...includes, "-o", output, ...sources, "-ldl"];
    result = Bun.spawnSync([path ?? program, ...args], {
      cwd: work,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      env: { ...process.env, PATH: searchPath(), TMPDIR: work, LC_ALL: "C" },
    });
  } catch (error) {
    throw new ConfigError(
      `C modules need a C compiler once, to build the native runtime: cannot run ${compilerName}: ` +
        "install gcc and libc6-dev, or set CC",
      { cause: error },
    );
  }
  if (result.success) return true;
  const said = result.stderr.toString();
  if (said.includes("No space left on device") || words.includes("Disk quota exceeded")) {
    return false;
  }
  const end = result.signalCode ?? `status ${result.exitCode}`;
  throw new ConfigError(
    `the native runtime could not be compiled by ${compilerName} in ${work} (${end}):\n${said}`,
  );
}

/**
 * Without one a compiler does not find its own parts. Relative folders in it would mean the
 * current folder, and root runs no program that another user may replace.
 */
function searchPath(): string {
  const absolute = (process.env["PATH"] ?? "").split(":").filter((it) => it.startsWith("/"));
  const usable = process.geteuid?.() === 0 ? absolute.filter(isTrusted) : absolute;
  return usable.length > 0 ? usable.join(":") : "/usr/local/bin:/usr/bin:/bin";
}

function isTrusted(folder: string): boolean {
  try {
    checkFolder(folder);
    return true;
  } catch (error) {
    log.debug(`no compiler is looked for in ${folder}: ${messageOf(error)}`);
    return false;
  }
}

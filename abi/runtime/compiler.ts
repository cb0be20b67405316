/** Compiles the native runtime. */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

import { ConfigError } from "#api";
import { log } from "#lib/log";
import { messageOf } from "#lib/thrown";
import { checkFolder } from "#sys/trusted";

const root = join(import.meta.dir, "../..");
const folders = ["include", "abi/runtime", "abi/generated"] as const;
/** The compiler and its first arguments: CC may be `ccache gcc`. */
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

/** The compiler in messages. */
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

/** The name of the compiled file. It depends on the sources and the compiler. */
export function runtimeName(): string {
  const { sources, headers } = runtimeSources();
  const hash = new Bun.CryptoHasher("sha256");
  hash.update([...compiler, ...flags, process.arch].join("\0"));
  for (const file of [...sources, ...headers]) hash.update(readFileSync(file)).update("\0");
  return `runtime-${hash.digest("hex").slice(0, 24)}.so`;
}

/**
 * Compile the runtime into `output`. The compiler runs in `work`, so it reads nothing in the current folder. Returns
 * false if the file system of `work` is full.
 */
export function compileRuntime(output: string, work: string): boolean {
  const { sources } = runtimeSources();
  const includes = folders.map((folder) => `-I${join(root, folder)}`);
  const [program = "", ...words] = compiler;
  // The program runs in another folder, so its path is looked up here.
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
  if (said.includes("No space left on device") || said.includes("Disk quota exceeded")) {
    return false;
  }
  const end = result.signalCode ?? `status ${result.exitCode}`;
  throw new ConfigError(
    `the native runtime could not be compiled by ${compilerName} in ${work} (${end}):\n${said}`,
  );
}

/**
 * The PATH for the compiler, which finds its own parts by it. It has no relative folders, and for root no folder in
 * which another user may replace a program.
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

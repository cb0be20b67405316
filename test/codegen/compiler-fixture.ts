/** The C compiler for tests, temporary folders, and golden files that `UPDATE=1` rewrites. */
import { expect } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const root = join(import.meta.dir, "../..");
export const cases = join(import.meta.dir, "cases");

export const compiler = process.env["CC"] ?? "cc";
export const hasCompiler = Bun.which(compiler) !== null;
/** The part of a name that says that the test needs a compiler. */
export const needsCompiler = hasCompiler ? "" : " (skipped: needs cc)";
/** cc compiles C++ only if its compiler for C++ is installed. */
export const hasCxx =
  hasCompiler &&
  Bun.spawnSync([compiler, "-xc++", "-fsyntax-only", "-"], { stdin: new Uint8Array() }).success;

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Run a command until it ends. */
export async function run(
  command: readonly string[],
  options: { readonly input?: string; readonly cwd?: string } = {},
): Promise<Ran> {
  const child = Bun.spawn([...command], {
    cwd: options.cwd ?? root,
    stdin: new TextEncoder().encode(options.input ?? ""),
    stderr: "pipe",
    env: { ...process.env, CI: "" },
  });
  const [stdout, stderr, code] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return { code, stdout, stderr };
}

/** The input of codegen. */
export const headerPaths = [
  "include",
  "abi/runtime/runtime.h",
  ...["gnutls-groups", "gnutls", "libc", "selinux"].map((name) => `src/sys/${name}.h`),
];

/** The folders of the headers and the generated C, relative to the root. */
export const includes = ["include", "abi/generated", "abi/runtime"].map((path) => `-I${path}`);
export const strict = ["-Wall", "-Wextra", "-Werror"];

/** Compile `source` (C on stdin). */
export function cc(args: readonly string[], source: string): Promise<Ran> {
  const language = args.some((arg) => arg.includes("c++")) ? [] : ["-xc"];
  return run([compiler, ...includes, ...language, ...args, "-"], { input: source });
}

/** Build a program from `source` and other files, run it, and return its output. */
export async function output(args: readonly string[], source: string): Promise<string> {
  await using folder = await temporary();
  const program = join(folder.path, "program");
  const built = await cc(["-o", program, ...args], source);
  expect(built).toEqual({ code: 0, stdout: "", stderr: "" });
  const ran = await run([program]);
  expect(ran).toEqual({ code: 0, stdout: ran.stdout, stderr: "" });
  return ran.stdout;
}

/** A folder that is removed afterwards. */
export async function temporary(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "codegen-test-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Compare `text` with a file of cases/, or rewrite that file. */
export function expectGolden(path: string, text: string): void {
  const file = join(cases, path);
  if (process.env["UPDATE"] === "1") writeFileSync(file, text);
  expect(existsSync(file) ? readFileSync(file, "utf8") : `no file ${path}: run with UPDATE=1`).toBe(
    text,
  );
}

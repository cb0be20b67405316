/** Compiles C modules for tests. */
import { mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";

const root = join(import.meta.dir, "..", "..");

/** What the C compiler is asked for: warnings are errors. */
export const compilerFlags: readonly string[] = [
  "-std=c11",
  "-Wall",
  "-Wextra",
  "-Werror",
  "-shared",
  "-fPIC",
  "-O1",
  "-I",
  join(root, "include"),
];

export interface CompileOptions {
  /** `-DNAME=VALUE`; `true` is `-DNAME`. */
  readonly defines?: Readonly<Record<string, string | number | true>>;
  /** The result is called `NAME.so`; by default after its source. */
  readonly name?: string;
  /** Put after the usual ones, before the source. */
  readonly flags?: readonly string[];
}

/** Whether C modules can be compiled: `test.skipIf(!haveCompiler)("…")`, with cc in the test's name. */
export const haveCompiler: boolean = Bun.which("cc") !== null;

let folder: string | undefined;
/** Referenced for ever: the collector would close its pipe. */
let remover: Bun.Subprocess | undefined;
const compiled = new Map<string, Promise<string>>();

/**
 * The path of the shared object made of `source`, a path in this project or an absolute one. The same request
 * gives the same file while this process lives. Rejects with what the compiler printed.
 */
export function compileModule(source: string, options: CompileOptions = {}): Promise<string> {
  const path = resolve(root, source);
  const key = JSON.stringify([path, options.defines ?? {}, options.name, options.flags ?? []]);
  let result = compiled.get(key);
  if (result === undefined) compiled.set(key, (result = compile(path, options, compiled.size)));
  return result;
}

async function compile(source: string, options: CompileOptions, number: number): Promise<string> {
  // Each has a folder of its own: the same name may be wanted with other defines.
  const target = join(temporaryFolder(), String(number));
  mkdirSync(target);
  const output = join(target, `${options.name ?? basename(source, ".c")}.so`);
  const defines = Object.entries(options.defines ?? {}).map(([name, value]) =>
    value === true ? `-D${name}` : `-D${name}=${value}`,
  );
  await runCompiler(
    [...compilerFlags, "-pthread", ...defines, ...(options.flags ?? []), "-o", output, source],
    source,
  );
  return output;
}

/** Run `cc` in the project's root; rejects with what it printed unless it succeeds. */
export async function runCompiler(args: readonly string[], what: string): Promise<void> {
  const child = Bun.spawn(["cc", ...args], {
    cwd: root,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(`cc failed with ${code} for ${what}:\n${stdout}${stderr}`);
}

/** A folder that is removed when this process ends, however it does. */
export function temporaryFolder(): string {
  if (folder !== undefined) return folder;
  folder = mkdtempSync(join(tmpdir(), "nbdkit-modules-"));
  // `bun test` calls no exit handlers, and a fault in C kills the process: so another one waits for the end of ours.
  const script = 'trap "" INT TERM HUP; cat; exec rm -rf -- "$1"';
  remover = Bun.spawn(["sh", "-c", script, "sh", folder], {
    stdin: "pipe",
    stdout: "ignore",
    stderr: "ignore",
  });
  remover.unref();
  return folder;
}

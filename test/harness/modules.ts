/** Compiles C modules for tests. */
import { mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";

const root = join(import.meta.dir, "..", "..");

/** The compiler's flags. Warnings are errors. */
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
  /** The name of the result, `NAME.so`; by default that of the source. */
  readonly name?: string;
  /** Further flags, which follow the usual ones. */
  readonly flags?: readonly string[];
}

/** Whether C modules can be compiled: `test.skipIf(!haveCompiler)("…")`, with cc in the test's name. */
export const haveCompiler: boolean = Bun.which("cc") !== null;

let folder: string | undefined;
/** Kept, since the collector would close its pipe. */
let remover: Bun.Subprocess | undefined;
const compiled = new Map<string, Promise<string>>();

/**
 * Compile `source`, a path in this project or an absolute one, and return the path of the shared object. The same
 * request returns the same file in this process. Rejects with the compiler's messages.
 */
export function compileModule(source: string, options: CompileOptions = {}): Promise<string> {
  const path = resolve(root, source);
  const key = JSON.stringify([path, options.defines ?? {}, options.name, options.flags ?? []]);
  let result = compiled.get(key);
  if (result === undefined) compiled.set(key, (result = compile(path, options, compiled.size)));
  return result;
}

async function compile(source: string, options: CompileOptions, number: number): Promise<string> {
  // Each file has a folder of its own, since one name may be compiled with different defines.
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

/** Run `cc` in the project's root. Rejects with its messages unless it succeeds. */
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

/** A folder that is removed when this process ends, even if it crashes. */
export function temporaryFolder(): string {
  if (folder !== undefined) return folder;
  folder = mkdtempSync(join(tmpdir(), "nbdkit-modules-"));
  // `bun test` calls no exit handlers, and a fault in C kills the process, so another process waits for its end.
  const script = 'trap "" INT TERM HUP; cat; exec rm -rf -- "$1"';
  remover = Bun.spawn(["sh", "-c", script, "sh", folder], {
    stdin: "pipe",
    stdout: "ignore",
    stderr: "ignore",
  });
  remover.unref();
  return folder;
}

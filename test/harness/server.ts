/** Spawns servers and clients for end-to-end tests, and makes sure that they end. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { textOf } from "#lib/text-bytes";

const root = join(import.meta.dir, "..", "..");

export interface ServeOptions {
  /** The program to run instead of ours, for parity tests: `["nbdkit"]`. */
  readonly program?: readonly string[];
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export interface Exited {
  /** The exit status, or 128 + the signal that ended the process. */
  readonly code: number;
  readonly stderr: string;
}

export interface Served extends AsyncDisposable {
  readonly socket: string;
  readonly uri: string;
  readonly process: Bun.Subprocess<"ignore", "pipe", "pipe">;
  /** The server's messages so far. */
  stderr(): string;
  /** Wait until stderr matches; rejects if the server exits without it. */
  printed(pattern: RegExp): Promise<RegExpExecArray>;
  /** SIGTERM, and wait for the exit. */
  stop(): Promise<Exited>;
}

/** The prefix of the server's command if its native part runs under a sanitizer: see scripts/sanitizer.ts. */
const prefix = JSON.parse(process.env["SANITIZER_PREFIX"] ?? "[]") as readonly string[];

/** The command of this project's server, without its arguments. */
export const program: readonly string[] = [
  ...prefix,
  process.execPath,
  join(root, "src", "main.ts"),
];

/** The same without the capabilities by which root opens files whose mode forbids it. */
export const bareProgram: readonly string[] =
  process.getuid?.() === 0
    ? ["setpriv", "--bounding-set=-dac_override,-dac_read_search", ...program]
    : program;

const alive = new Set<Bun.Subprocess>();
process.on("exit", () => {
  for (const child of alive) child.kill("SIGKILL");
});

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/** Wait until the condition holds. The test's own time limit ends it otherwise. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await pause(5);
}

/** Whether a process listens on the Unix socket, by its flags in /proc/net/unix: the server sees no client. */
export function isListening(socket: string): boolean {
  return readFileSync("/proc/net/unix", "utf8")
    .split("\n")
    .some((line) => line.endsWith(` ${socket}`) && line.split(" ")[3] === "00010000");
}

/** The text of a stream so far. */
class Collected {
  text = "";
  readonly done: Promise<void>;
  #watchers: (() => void)[] = [];

  constructor(stream: ReadableStream<Uint8Array>) {
    this.done = this.#collect(stream);
  }

  /** Resolves when more text arrives, or the stream ends. */
  more(): Promise<void> {
    return Promise.race([new Promise<void>((resolve) => this.#watchers.push(resolve)), this.done]);
  }

  async #collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      this.text += decoder.decode(chunk, { stream: true });
      for (const wake of this.#watchers.splice(0)) wake();
    }
  }
}

async function matched(
  output: Collected,
  child: Bun.Subprocess,
  pattern: RegExp,
): Promise<RegExpExecArray> {
  for (;;) {
    const more = output.more();
    const match = pattern.exec(output.text);
    if (match !== null) return match;
    const ended = await Promise.race([more.then(() => false), child.exited.then(() => true)]);
    if (!ended) continue;
    await output.done;
    const last = pattern.exec(output.text);
    if (last !== null) return last;
    throw new Error(`the server exited without printing ${pattern}:\n${output.text}`);
  }
}

/** Start `bun src/main.ts -f -U SOCKET ...args` and wait until it listens. Rejects if it exits instead. */
export async function serve(args: readonly string[], options: ServeOptions = {}): Promise<Served> {
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-test-"));
  const socket = join(folder, "sock");
  const child = Bun.spawn([...(options.program ?? program), "-f", "-U", socket, ...args], {
    cwd: options.cwd ?? root,
    env: { ...process.env, ...options.env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  alive.add(child);
  const stderr = new Collected(child.stderr);
  const stdout = new Collected(child.stdout);
  let ended: Exited | undefined;
  const exited = child.exited.then(async (code) => {
    alive.delete(child);
    // Do not wait long for a grandchild that holds the pipe open.
    await Promise.race([Promise.all([stderr.done, stdout.done]), pause(1000)]);
    rmSync(folder, { recursive: true, force: true });
    return (ended = { code, stderr: stderr.text });
  });
  const stop = async (): Promise<Exited> => {
    if (ended !== undefined) return ended;
    child.kill("SIGTERM");
    const late = setTimeout(() => child.kill("SIGKILL"), 20_000);
    const result = await exited;
    clearTimeout(late);
    return result;
  };
  while (!isListening(socket)) {
    if (child.exitCode !== null || child.signalCode !== null) {
      const { code } = await exited;
      throw new Error(`the server exited with ${code} before it listened:\n${stderr.text}`);
    }
    await pause(5);
  }
  return {
    socket,
    uri: `nbd+unix:///?socket=${socket}`,
    process: child,
    stderr: () => stderr.text,
    printed: (pattern) => matched(stderr, child, pattern),
    stop,
    [Symbol.asyncDispose]: async () => void (await stop()),
  };
}

export interface RunOptions {
  readonly stdin?: Uint8Array | string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** SIGKILL after this time (default one minute). */
  readonly timeoutMs?: number;
}

/** Output that is not UTF-8 keeps its bytes, as #lib/text-bytes describes. */
export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Run a program to its end. */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const stdin =
    typeof options.stdin === "string" ? new TextEncoder().encode(options.stdin) : options.stdin;
  const child = Bun.spawn([...command], {
    cwd: options.cwd ?? root,
    env: { ...process.env, ...options.env },
    stdin: stdin ?? "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  alive.add(child);
  const late = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? 60_000);
  try {
    const [stdout, stderr, code] = await Promise.all([
      new Response(child.stdout).bytes(),
      new Response(child.stderr).bytes(),
      child.exited,
    ]);
    return { code, stdout: textOf(stdout), stderr: textOf(stderr) };
  } finally {
    clearTimeout(late);
    alive.delete(child);
  }
}

/** Whether a program that a test needs is installed: `test.skipIf(!installed("nbdinfo"))`. */
export function installed(name: string): boolean {
  return Bun.which(name) !== null;
}

/** Whether to skip tests that need these programs. `needs` is for their names, and says which are missing. */
export function needing(...programs: readonly string[]) {
  const missing = programs.filter((name) => !installed(name));
  const skip = missing.length > 0;
  return { missing, skip, needs: skip ? ` (needs ${missing.join(", ")})` : "" };
}

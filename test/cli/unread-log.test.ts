/** A server whose log is not read, or whose stdout cannot be written. */
import { describe, expect, test } from "bun:test";
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { isListening, program, run, until } from "#test/server";

const { O_NONBLOCK, O_RDWR, O_WRONLY } = constants;

/** A pipe that is full until empty() is called. */
class FullPipe implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), "nbdkit-pipe-"));
  readonly #path = join(this.folder, "pipe");
  readonly #end: number;

  constructor() {
    if (Bun.spawnSync(["mkfifo", this.#path]).exitCode !== 0) throw new Error("mkfifo failed");
    // Opened for both, so that it always has a reader.
    this.#end = openSync(this.#path, O_RDWR | O_NONBLOCK);
    this.#each(() => writeSync(this.#end, new Uint8Array(4096).fill(0x2e)));
  }

  writer(flags: number): number {
    return openSync(this.#path, O_WRONLY | flags);
  }

  /** Reads all, and returns it without the bytes that filled the pipe. */
  empty(): string {
    const chunks: Buffer[] = [];
    this.#each(() => {
      const chunk = Buffer.alloc(65536);
      chunks.push(chunk.subarray(0, readSync(this.#end, chunk)));
    });
    return Buffer.concat(chunks).toString().replace(/^\.+/, "");
  }

  /** Repeats the step until it would block. */
  #each(step: () => void): void {
    try {
      for (;;) step();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#end);
    rmSync(this.folder, { recursive: true });
  }
}

const kinds = [
  ["blocks", 0],
  ["does not block", O_NONBLOCK],
] as const;
const patience = 20_000;

async function isServed(socket: string): Promise<void> {
  const { client } = await NbdClient.ready({ unix: socket });
  await using connection = client;
  await connection.ask({ type: 0, offset: 512n, count: 512 });
}

describe.each(kinds)("an unread log whose write %s", (_what, flags) => {
  async function served(args: readonly string[], lost: RegExp): Promise<void> {
    using pipe = new FullPipe();
    const socket = join(pipe.folder, "sock");
    const log = pipe.writer(flags);
    const child = Bun.spawn([...program, "-f", "-U", socket, ...args], {
      stdio: ["ignore", "ignore", log],
    });
    closeSync(log);
    try {
      await until(() => isListening(socket));
      for (let i = 0; i < 3; i++) await isServed(socket);
      expect(pipe.empty()).not.toMatch(lost);
      await isServed(socket);
      expect(pipe.empty()).toMatch(lost);
      child.kill("SIGTERM");
      expect(await child.exited).toBe(0);
    } finally {
      child.kill("SIGKILL");
      await child.exited;
    }
  }

  test(
    "delays no client, and later reports the lost lines",
    () =>
      served(
        ["-v", "memory", "1M"],
        /\nnbdkit: warning: \d+ line\(s\) of the log were lost, because/,
      ),
    patience,
  );

  test.skipIf(!haveCompiler)(
    "does not delay C modules (needs cc)",
    async () => {
      const plugin = await compileModule("test/fixtures/shutting-down.c");
      const lost = /\nnbdkit: warning: \d+ line\(s\) of modules were lost, because/;
      await served([plugin], lost);
    },
    patience,
  );
});

// A sanitizer needs all of the address space.
const isPlain = program[0] === process.execPath;

test.skipIf(!isPlain)("a server without address space for its code reports that", async () => {
  const limited = ["sh", "-c", 'ulimit -v 1800000; exec "$@"', "sh", ...program];
  const { code, stdout, stderr } = await run([...limited, "-U", "-", "null", "--run", "true"]);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toMatch(/^nbdkit: error: Bun cannot call libc, .* of ulimit -v and -d or more\n$/);
});

describe("a failed write to stdout", () => {
  const full = (...args: string[]) =>
    run(["sh", "-c", '"$@" >/dev/full', "sh", ...program, ...args]);

  test.each([
    [["--version"]],
    [["--dump-config"]],
    [["memory", "--dump-plugin"]],
    [["-U", "-", "--print-uri", "memory", "1M", "--run", "true"]],
  ])("is reported without a stack: %p", async (args) => {
    expect(await full(...args)).toEqual({
      code: 1,
      stdout: "",
      stderr: "nbdkit: error: cannot write to stdout: No space left on device\n",
    });
  });
});

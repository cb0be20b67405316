/** A file system whose calls a test can block or fail: test/fixtures/held-disk.c, mounted on a temporary folder. */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { run } from "#test/server";

const source = join(import.meta.dir, "..", "fixtures", "held-disk.c");

/** Whether the file system can be compiled and mounted. */
export const canHold =
  process.getuid?.() === 0 &&
  existsSync("/dev/fuse") &&
  Bun.which("cc") !== null &&
  Bun.which("fusermount3") !== null &&
  existsSync("/usr/include/fuse3/fuse.h");

export type Held =
  "flush" | "fallocate" | "fsync" | "getattr" | "lseek" | "open" | "read" | "write";

export class HeldDisk implements AsyncDisposable {
  /** A folder for tests beside the mount point. */
  readonly folder: string;
  /** The file system's root. */
  readonly mounted: string;
  readonly #top: string;
  readonly #process: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #reader;
  #lines: string[] = [];
  #rest = "";

  /** Creates `files` in the folder that the file system shows. */
  static async mount(files: Readonly<Record<string, Uint8Array>>): Promise<HeldDisk> {
    const top = mkdtempSync(join(tmpdir(), "nbdkit-held-"));
    const program = join(top, "held-disk");
    const compiled = await run([
      "cc",
      ...["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-D_FILE_OFFSET_BITS=64"],
      ...["-I/usr/include/fuse3", "-o", program, source, "-lfuse3", "-pthread"],
    ]);
    if (compiled.code !== 0) throw new Error(compiled.stderr);
    for (const name of ["backing", "mounted", "folder"]) mkdirSync(join(top, name));
    for (const [name, bytes] of Object.entries(files))
      await Bun.write(join(top, "backing", name), bytes);
    const disk = new HeldDisk(top, program);
    await disk.#line("ready");
    return disk;
  }

  private constructor(top: string, program: string) {
    this.#top = top;
    this.folder = join(top, "folder");
    this.mounted = join(top, "mounted");
    this.#process = Bun.spawn([program, join(top, "backing"), this.mounted], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
    });
    this.#reader = this.#process.stdout.getReader();
  }

  /** Block calls of this kind until release(). */
  async hold(kind: Held): Promise<void> {
    await this.#say(`hold ${kind}`);
  }

  /** Resolves when a call of this kind is blocked. */
  async holds(kind: Held): Promise<void> {
    await this.#line(`held ${kind}`);
  }

  /** Let the n-th call of this kind from now on fail with EIO, and no other. */
  async fail(kind: Held, n = 1): Promise<void> {
    await this.#say(`fail ${kind} ${n}`);
  }

  /** Resolves when a call of this kind has failed. */
  async failed(kind: Held): Promise<void> {
    await this.#line(`failed ${kind}`);
  }

  async release(): Promise<void> {
    await this.#say("release");
    this.#lines = [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Blocked calls fail with ENOTCONN.
    this.#process.kill("SIGKILL");
    await this.#process.exited;
    await run(["umount", "-l", this.mounted]);
    rmSync(this.#top, { recursive: true, force: true });
  }

  async #say(line: string): Promise<void> {
    this.#process.stdin.write(`${line}\n`);
    await this.#process.stdin.flush();
    await this.#line("ok");
  }

  async #line(wanted: string): Promise<void> {
    const decoder = new TextDecoder();
    for (;;) {
      const at = this.#lines.indexOf(wanted);
      if (at >= 0) {
        this.#lines.splice(at, 1);
        return;
      }
      const { done, value } = await this.#reader.read();
      if (done) throw new Error(`the file system exited without printing ${wanted}`);
      const lines = `${this.#rest}${decoder.decode(value)}`.split("\n");
      this.#rest = lines.pop() ?? "";
      this.#lines.push(...lines);
    }
  }
}

/** Lines of the log reach whoever reads them, however slowly. */
import { expect, test } from "bun:test";
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { log, sendErrorsTo } from "./log.ts";

/** Fill a pipe that does not block. Returns how many bytes it took. */
function fill(fd: number): number {
  const bytes = new Uint8Array(4096);
  for (let filled = 0; ;) {
    try {
      filled += writeSync(fd, bytes);
    } catch (error) {
      expect(error).toMatchObject({ code: "EAGAIN" });
      return filled;
    }
  }
}

test("an error is written once a full pipe has been read", async () => {
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-log-"));
  try {
    const path = join(folder, "pipe");
    expect(Bun.spawnSync(["mkfifo", path]).success).toBe(true);
    // Opening only to write would wait for a reader.
    const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    const filled = fill(fd);
    const reader = Bun.spawn(["cat", path], { stdout: "pipe" });
    const text = reader.stdout.text();
    sendErrorsTo({ fd });
    log.error("it went wrong", "memory[1]");
    sendErrorsTo({ fd: 2 });
    // The reader's end comes when nobody can write any more: it must have opened the pipe before.
    while (fill(fd) === 0) await new Promise((resolve) => void setImmediate(resolve));
    closeSync(fd);
    expect((await text).slice(filled).replaceAll("\0", "")).toBe(
      "nbdkit: memory[1]: error: it went wrong\n",
    );
    expect(await reader.exited).toBe(0);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** Lines of the log reach even a slow reader. */
import { expect, test } from "bun:test";
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { log, sendErrorsTo } from "./log.ts";

/** A named pipe that does not block. Opening it only to write would wait for a reader. */
function pipeAt(path: string): number {
  expect(Bun.spawnSync(["mkfifo", path]).success).toBe(true);
  return openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
}

function fill(fd: number): void {
  for (;;) {
    try {
      writeSync(fd, new Uint8Array(4096));
    } catch (error) {
      expect(error).toMatchObject({ code: "EAGAIN" });
      return;
    }
  }
}

test("log.error waits until a full pipe has been read", async () => {
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-log-"));
  let reader: Bun.Subprocess<"ignore", "pipe"> | undefined;
  try {
    const [lines, start] = [pipeAt(join(folder, "lines")), pipeAt(join(folder, "start"))];
    fill(lines);
    reader = Bun.spawn(["sh", "-c", "read _ < start; exec cat lines"], {
      cwd: folder,
      stdout: "pipe",
    });
    sendErrorsTo({ fd: lines });
    writeSync(start, "\n");
    log.error("it went wrong", "memory[1]");
    sendErrorsTo({ fd: 2 });
    closeSync(lines);
    closeSync(start);
    const text = (await reader.stdout.text()).replaceAll("\0", "");
    expect(text).toBe("nbdkit: memory[1]: error: it went wrong\n");
    expect(await reader.exited).toBe(0);
  } finally {
    reader?.kill();
    rmSync(folder, { recursive: true });
  }
});

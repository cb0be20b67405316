/** Reads the disk that a module serves. */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { serve } from "#test/server";

/** The content of the file `plain` in the folder. */
export const content = Buffer.alloc(200_000, "all of the same content\n");

/** Only so much is read of a larger disk. */
const mostBytes = 8 << 20;

/** The size, flags and hash that a client gets. */
export async function readDisk(
  command: readonly string[],
  args: (folder: string) => readonly string[],
  make: (folder: string) => unknown,
): Promise<object> {
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-newest-"));
  try {
    writeFileSync(join(folder, "plain"), content);
    await make(folder);
    await using server = await serve(args(folder), { program: command });
    await using client = await NbdClient.connect({ unix: server.socket });
    await client.hello();
    const info = await client.go();
    if (!("size" in info)) throw new Error(server.stderr());
    const size = Number(info.size);
    if (size === 0) return { size, eflags: info.eflags, error: 0 };
    const count = Math.min(size, mostBytes);
    const { error, data } = await client.ask({ type: 0, offset: 0n, count });
    const hash = createHash("sha1").update(data).digest("hex");
    return { size, eflags: info.eflags, error, hash };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Shows shortly what a module serves. */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { serve } from "#test/server";

/** What the file `plain` has, which is in the folder. */
export const content = Buffer.alloc(200_000, "all of the same content\n");

/** Some disks are larger. */
const most = 8 << 20;

/** What a client sees that reads the whole disk. */
export async function glimpse(
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
    const count = Math.min(size, most);
    const { error, data } = await client.ask({ type: 0, offset: 0n, count });
    const hash = createHash("sha1").update(data).digest("hex");
    return { size, eflags: info.eflags, error, hash };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

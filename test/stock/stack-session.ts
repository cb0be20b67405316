/** Runs one stack in one server, and returns everything that a client sees. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { serve, until } from "#test/server";

import type { Stack } from "./stack-recipes.ts";
import { errors, logLines, nbdsh } from "./stock.ts";

const DISK = 256 * 1024;

/** A disk with an MBR, two partitions, text and holes. */
function disk(): Buffer {
  const bytes = Buffer.alloc(DISK);
  for (const [entry, start, count] of [
    [446, 16, 160],
    [462, 200, 301],
  ] as const) {
    bytes[entry + 4] = 0x83;
    bytes.writeUInt32LE(start, entry + 8);
    bytes.writeUInt32LE(count, entry + 12);
  }
  bytes.writeUInt16LE(0xaa55, 510);
  for (let at = 8192; at < DISK; at += 32768) bytes.fill(`text at ${at} `, at, at + 10000);
  return bytes;
}

function prepare(folder: string): void {
  writeFileSync(join(folder, "disk"), disk());
  writeFileSync(join(folder, "list"), "0 16K\n16K 32K hole,zero\n60000 5000 zero\n70000 1M\n");
  const map = ["0x0 +", "0x0 0x3000 +", "0x3000 0x1000 -", "0x4000 0xc000 +", "0x10000 0x800 *"];
  writeFileSync(join(folder, "map"), `${map.join("\n")}\n`);
}

/** Waits until nbdkit has no clients: it does not close open connections when it stops, and multi-conn fails then. */
async function idle(pid: number, { filters }: Stack): Promise<void> {
  // The main thread, and that of pause.
  const threads = filters.includes("pause") ? 2 : 1;
  await until(() => readdirSync(`/proc/${pid}/task`).length <= threads);
}

/** Removes the parts of a message in which the servers differ. */
const withoutOwnWords = (line: string) =>
  line
    .replace(/(invalid request: \w+):.*/, "$1")
    // This server's lines begin with the name of the TypeScript layer, here filters/error.
    .replace(/error: error: (?=injecting )/, "error: ");

/** The second client may connect before the log has the end of the first one. */
const byConnection = (log: readonly string[]) =>
  Object.groupBy(log, (line) => /^connection=\d+/.exec(line)?.[0] ?? "none");

/** Runs the session. `named` turns the names of modules into arguments. */
export async function session(
  command: readonly string[],
  stack: Stack,
  named: (name: string, kind: "filter" | "plugin") => string,
): Promise<object> {
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-stack-"));
  try {
    prepare(folder);
    const args = [
      ...stack.filters.map((filter) => `--filter=${named(filter, "filter")}`),
      named(stack.plugin, "plugin"),
      ...stack.params.map((param) => param.replaceAll("FOLDER", folder)),
    ];
    await using server = await serve(args, { program: command });
    const seen = await nbdsh(server, script, null);
    if (command.at(-1) === "nbdkit") await idle(server.process.pid, stack);
    const { code, stderr } = await server.stop();
    const log = join(folder, "log");
    const all = {
      seen,
      code,
      errors: errors(stderr, folder).map(withoutOwnWords),
      disk: new Bun.CryptoHasher("sha1").update(readFileSync(join(folder, "disk"))).digest("hex"),
      log: existsSync(log) ? byConnection(logLines(log)) : [],
    };
    // sparse-random sets no errno if a write has other bytes, so the client gets the thread's last errno.
    if (stack.plugin !== "sparse-random") return all;
    return JSON.parse(JSON.stringify(all).replaceAll("EINVAL", "EIO")) as object;
  } catch (error) {
    return { failed: error instanceof Error ? error.message.replaceAll(folder, "FOLDER") : error };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const script = `

def digest (data):
    return hashlib.sha1 (data).hexdigest ()[:12]

def content (c):
    return [digest (c.pread (min (65536, size - at), at)) for at in range (0, size, 65536)]

def step (name, call):
    try:
        result = call ()
    except nbd.Error as e:
        result = e.errno
    show ([name, result])

def requests ():
    for count, at in ((1, 0), (512, 0), (3, 511), (8192, 4096), (65536, size // 2), (10000, 12345), (1, size - 1),
                      (512, size - 512), (2, size - 1), (1, size)):
        step (f"read {count} {at}", lambda: digest (h.pread (count, at)))
    step ("extents", lambda: all_extents (size))
    for count, at, what in ((512, 0, b"a"), (8192, 4096, b"b"), (3, 1000, b"c"), (20000, size // 3, b"d"),
                            (512, size - 512, b"e"), (2, size - 1, b"f"), (512, 2048, b"\\0")):
        step (f"write {count} {at}", lambda: h.pwrite (what * count, at))
    step ("content", lambda: content (h))
    if h.can_fua ():
        step ("write with FUA", lambda: h.pwrite (b"g" * 5000, 30000))
    for count, at, flags in ((8192, 16384, 0), (700, 5000, 0), (4096, size // 2, nbd.CMD_FLAG_NO_HOLE),
                             (100, size - 50, 0), (4096, 32768, nbd.CMD_FLAG_FUA),
                             (4096, 40960, nbd.CMD_FLAG_FAST_ZERO)):
        # Clients must not send flags that are not offered.
        if flags != nbd.CMD_FLAG_FAST_ZERO or h.can_fast_zero ():
            step (f"zero {count} {at} {flags}", lambda: h.zero (count, at, flags))
    step ("flush", h.flush)
    for count, at in ((4096, 8192), (10000, 20000), (1000, size - 500)):
        step (f"trim {count} {at}", lambda: h.trim (count, at))
    for count, at in ((4096, 0), (65536, size // 4), (1000, size - 500)):
        step (f"cache {count} {at}", lambda: h.cache (count, at))
    step ("extents", lambda: all_extents (size))
    step ("extents one", lambda: extents (20000, 10000, nbd.CMD_FLAG_REQ_ONE))
    step ("extents beyond", lambda: extents (2, size - 1))
    step ("content", lambda: content (h))

def again ():
    """The content that another client reads."""
    other = client ()
    found = content (other)
    other.shutdown ()
    return found

h.set_request_block_size (True)
try:
    h.set_full_info (True)
    h.connect_uri (uri)
except nbd.Error:
    show ("refused")
else:
    size = h.get_size ()
    show ([size, flags (), block_sizes ()])
    step ("name", h.get_canonical_export_name)
    step ("description", h.get_export_description)
    requests ()
    h.shutdown ()
    step ("again", again)
`;

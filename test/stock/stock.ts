/** Runs one genuine module of the installed nbdkit twice, in this server and in nbdkit, with the same client script. */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { installed, program, run, serve, type Served } from "#test/server";

/** Where a session runs: its server, and a folder that is this server's only. */
export interface Side {
  readonly server: Served;
  readonly folder: string;
}

export interface StockCase {
  /** Options of nbdkit before the modules: `["-r"]`. */
  readonly options?: readonly string[];
  /** Genuine filters by name, the outermost first. */
  readonly filters?: readonly string[];
  /** The genuine plugin by name. */
  readonly plugin: string;
  /** The parameters after the plugin. */
  readonly params?: (folder: string) => readonly string[];
  /** Put into the folder what the parameters name. */
  readonly before?: (folder: string) => unknown;
  readonly env?: (folder: string) => Readonly<Record<string, string>>;
  /** Use the server and tell what was seen; see `nbdsh`. */
  readonly see: (side: Side) => Promise<unknown>;
  /** What must have been seen in both, so that two equal failures are no success. */
  readonly expected: unknown;
  /** What ours shows instead, and why that is right. */
  readonly differs?: { readonly why: string; readonly expected: unknown };
  /** The exit code of both; null where `see` has ended the server itself and has looked at it. */
  readonly code?: number | null;
  /** Programs that are needed besides nbdkit. */
  readonly needs?: readonly string[];
}

/** Both servers show what is expected. Modules are the genuine ones in both. */
export function stock(title: string, it: StockCase): void {
  const missing = ["nbdkit", "nbdsh", ...(it.needs ?? [])].filter((name) => !installed(name));
  const name = missing.length === 0 ? title : `${title} (needs ${missing.join(", ")})`;
  test.skipIf(missing.length > 0)(
    name,
    async () => {
      const [ours, genuine] = await Promise.all([
        session(program, "native:", it).catch(told),
        session(["nbdkit"], "", it).catch(told),
      ]);
      const code = it.code === undefined ? 0 : it.code;
      expect({ ours, genuine }).toEqual({
        ours: { seen: it.differs === undefined ? it.expected : it.differs.expected, code },
        genuine: { seen: it.expected, code },
      });
    },
    60_000,
  );
}

/** One side's failure must not hide what the other side showed. */
function told(error: unknown): unknown {
  return { failed: error instanceof Error ? error.message : String(error) };
}

async function session(command: readonly string[], prefix: string, it: StockCase) {
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-stock-"));
  try {
    await it.before?.(folder);
    const args = [
      ...(it.options ?? []),
      ...(it.filters ?? []).map((filter) => `--filter=${prefix}${filter}`),
      `${prefix}${it.plugin}`,
      ...(it.params?.(folder) ?? []),
    ];
    const env = it.env?.(folder);
    await using server = await serve(args, { program: command, ...(env && { env }) });
    const seen = await it.see({ server, folder });
    const { code } = await server.stop();
    return { seen, code: it.code === null ? null : code };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Run a script of nbdsh, connected as `h` and with everything of libnbd at hand, and return what it printed, as JSON
 * where it is. In the script `show (x)` prints x as JSON (bytes as hex), and `errno (lambda: …)` is the name of the
 * error that a call ends with, or None.
 */
export async function nbdsh(server: Served, script: string, uri = server.uri): Promise<unknown> {
  const { code, stdout, stderr } = await run(
    ["nbdsh", "--base-allocation", "-c", prelude, "-u", uri, "-c", script],
    {
      // The system's Python has libnbd's module.
      env: { PATH: `/usr/bin:${process.env["PATH"] ?? ""}` },
    },
  );
  if (code !== 0)
    throw new Error(`nbdsh ended with ${code}:\n${stderr}\nserver:\n${server.stderr()}`);
  const lines = stdout.trimEnd().split("\n");
  return lines.length === 1 ? parsed(lines[0] ?? "") : lines.map((line) => parsed(line));
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return line;
  }
}

const prelude = `
import json, errno as _errno
def _plain(x):
    return bytes(x).hex() if isinstance(x, (bytes, bytearray)) else str(x)
def show(x):
    print(json.dumps(x, default=_plain))
def errno(call):
    try:
        call()
    except nbd.Error as e:
        return e.errno
    return None
def extents(count, offset, flags=0):
    found = []
    def entry(context, at, entries, err):
        found.append(list(zip(entries[0::2], entries[1::2])))
        return 0
    h.block_status(count, offset, entry, flags)
    return found[0]
def flags():
    """What the export offers."""
    names = ["is_read_only", "can_flush", "can_fua", "is_rotational", "can_trim", "can_zero",
             "can_fast_zero", "can_multi_conn", "can_cache", "can_df"]
    return {name: getattr(h, name)() for name in names}
h.set_strict_mode(0)
`;

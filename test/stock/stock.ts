/** Runs a genuine module of the installed nbdkit in this server and in nbdkit, with the same client script. */
import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { installed, program, run, serve, type Served, until } from "#test/server";

/** One side of a case: its server, and a folder of its own. */
export interface Side {
  readonly server: Served;
  readonly folder: string;
}

/** One side of a case with a command that is not a plain server on a Unix socket. */
export interface CommandSide {
  /** The program with its options, modules and parameters. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly folder: string;
}

export interface Modules {
  /** Options of nbdkit before the modules: `["-r"]`; for `stockCommand` also `captive`. */
  readonly options?: readonly string[] | ((folder: string) => readonly string[]);
  /** Genuine filters by name, the outermost first. */
  readonly filters?: readonly string[];
  /** The genuine plugin by name. */
  readonly plugin: string;
  /** The parameters after the plugin. */
  readonly params?: (folder: string) => readonly string[];
  /** Makes the files that the parameters name, and starts peers, which are disposed of at the end. */
  readonly before?: (folder: string, peers: AsyncDisposableStack) => unknown;
  readonly env?: (folder: string) => Readonly<Record<string, string>>;
  /** What both sides must show. A failure of both is not a success. */
  readonly expected: unknown;
  /** What this server shows instead, and why that is right. */
  readonly differs?: { readonly why: string; readonly expected: unknown };
  /** Required programs besides nbdkit and nbdsh. */
  readonly needs?: readonly string[];
}

export interface StockCase extends Modules {
  /** Uses the server: a script for `nbdsh`, or a function that returns what it has seen. */
  readonly see: string | ((side: Side) => Promise<unknown>);
  /** The exit code of both servers. Null if `see` ends the server and checks the code. */
  readonly code?: number | null;
}

export interface CommandCase extends Modules {
  /** Starts the command, and returns what it has seen: see `ran` and `serveTcp`. */
  readonly see: (side: CommandSide) => Promise<unknown>;
}

/** Tests that both servers show what is expected with the genuine modules. */
export function stock(title: string, it: StockCase): void {
  const code = it.code === undefined ? 0 : it.code;
  both(title, it, (seen) => ({ seen, code }), session);
  async function session({ server: command, args, env, folder }: Start) {
    await using server = await serve(args, { program: command, env });
    const { see } = it;
    const seen = await (typeof see === "string" ? nbdsh(server, see) : see({ server, folder }));
    const { code: ended } = await server.stop();
    return { seen, code: code === null ? null : ended };
  }
}

/** The same for commands that do not serve on a Unix socket: they end, or have -p. */
export function stockCommand(title: string, it: CommandCase): void {
  both(
    title,
    it,
    (seen) => seen,
    ({ server, args, env, folder }) => it.see({ command: [...server, ...args], env, folder }),
  );
}

interface Start {
  readonly server: readonly string[];
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly folder: string;
}

function both(
  title: string,
  it: Modules,
  whole: (expected: unknown) => unknown,
  session: (start: Start) => Promise<unknown>,
): void {
  const missing = ["nbdkit", "nbdsh", ...(it.needs ?? [])].filter((name) => !installed(name));
  const name = missing.length === 0 ? title : `${title} (needs ${missing.join(", ")})`;
  test.skipIf(missing.length > 0)(
    name,
    async () => {
      const [ours, genuine] = await Promise.all([
        inFolder(program, "native:", it, session).catch(failed),
        inFolder(["nbdkit"], "", it, session).catch(failed),
      ]);
      expect({ ours, genuine }).toEqual({
        ours: whole(it.differs === undefined ? it.expected : it.differs.expected),
        genuine: whole(it.expected),
      });
    },
    60_000,
  );
}

/** A failure of one side, as a value, so that the result of the other one is also shown. */
function failed(error: unknown): unknown {
  return { failed: error instanceof Error ? error.message : String(error) };
}

async function inFolder(
  command: readonly string[],
  prefix: string,
  it: Modules,
  session: (start: Start) => Promise<unknown>,
): Promise<unknown> {
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-stock-"));
  try {
    await using peers = new AsyncDisposableStack();
    await it.before?.(folder, peers);
    const args = [
      ...(typeof it.options === "function" ? it.options(folder) : (it.options ?? [])),
      ...(it.filters ?? []).map((filter) => `--filter=${prefix}${filter}`),
      `${prefix}${it.plugin}`,
      ...(it.params?.(folder) ?? []),
    ];
    return await session({ server: command, args, env: it.env?.(folder) ?? {}, folder });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Options of a command that ends by itself. With `-U -` nbdkit would leave a folder behind if it ends early. */
export const captive = (folder: string): string[] => ["-U", join(folder, "sock"), "--run", "true"];

/** The environment of modules that make temporary files. */
export const ownTmp = (folder: string): Record<string, string> => ({ TMPDIR: folder });

/** Runs the command to its end. Returns its exit code and its errors (see `errors`). */
export async function ran({ command, env, folder }: CommandSide): Promise<unknown> {
  const { code, stderr } = await run(command, { env });
  return { code, errors: errors(stderr, folder) };
}

/** What a script shows, and the errors that the server prints until it ends. */
export async function withErrors(
  { server, folder }: Side,
  script: string,
  uri: string | null = server.uri,
): Promise<[seen: unknown, errors: string[]]> {
  const seen = await nbdsh(server, script, uri);
  return [seen, errors((await server.stop()).stderr, folder)];
}

/** What a script shows, and the `requests` that reach the log filter, whose file is `log`. */
export async function withRequests(
  { server, folder }: Side,
  script: string,
): Promise<[seen: unknown, requests: string[]]> {
  const seen = await nbdsh(server, script);
  await server.stop();
  return [seen, requests(join(folder, "log"))];
}

/** The lines of stderr with `error:`, without the name of the folder and the numbers of clients and threads. */
export function errors(stderr: string, folder: string): string[] {
  return stderr
    .split("\n")
    .filter((line) => line.includes("error:"))
    .map((line) => line.replace(/^(nbdkit: [^ ]+?)(\[\d+\]|\.\d+): /, "$1: "))
    .map((line) => line.replaceAll(folder, "FOLDER"));
}

/** The lines of the log filter's file, without their times. */
export function logLines(path: string): string[] {
  return readFileSync(path, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => {
      const time = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} /.exec(line);
      if (time === null) throw new Error(`log line without a time: ${line}`);
      return line.slice(time[0].length);
    });
}

/**
 * The requests in the log filter's file, in order and without numbers: `Read offset=0x0 count=0x1000`. Results follow
 * if they are more than success: `...Read return=-1 error=EIO`.
 */
export function requests(path: string): string[] {
  return logLines(path).flatMap((line) => {
    const request = /^(?:connection=\d+ )?(\.*[A-Z]\w*) id=\d+ (.*)$/.exec(line);
    const [, action = "", rest = ""] = request ?? [];
    if (request === null || action.endsWith("Preconnect") || rest === "return=0") return [];
    return [`${action} ${rest.replace(/ ?\.\.\.$/, "")}`.trimEnd()];
  });
}

/** The parts of a server that clients need. */
export type Target = Pick<Served, "uri" | "stderr">;

/** Starts a command that has the options `-f -p 0 -i ADDRESS`, and waits until it listens. */
export async function serveTcp(
  { command, env }: CommandSide,
  address: string,
): Promise<Target & AsyncDisposable & { stop(): Promise<number> }> {
  const child = Bun.spawn([...command], {
    env: { ...process.env, ...env },
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  let stderr = "";
  const exited = Promise.all([child.exited, new Response(child.stderr).text()]).then(
    ([code, text]) => {
      stderr = text;
      return code;
    },
  );
  const stop = () => {
    child.kill("SIGTERM");
    return exited;
  };
  let port: number | undefined;
  await until(() => (port = listeningPort(child.pid)) !== undefined || child.exitCode !== null);
  if (port === undefined) throw new Error(`exited with ${await exited}:\n${stderr}`);
  return {
    uri: `nbd://${address.includes(":") ? `[${address}]` : address}:${port}`,
    stderr: () => stderr,
    stop,
    [Symbol.asyncDispose]: async () => void (await stop()),
  };
}

/** The TCP port on which a process listens, according to /proc. */
function listeningPort(pid: number): number | undefined {
  const sockets: string[] = [];
  try {
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      sockets.push(readlinkSync(`/proc/${pid}/fd/${fd}`));
    }
  } catch {
    return undefined; // The process has ended, or has just closed a file.
  }
  const LISTEN = "0A";
  for (const file of ["tcp", "tcp6"]) {
    for (const line of readFileSync(`/proc/net/${file}`, "utf8").split("\n")) {
      const [, local = "", , state, , , , , , inode] = line.trim().split(/\s+/);
      if (state === LISTEN && sockets.includes(`socket:[${inode}]`)) {
        return Number.parseInt(local.slice(local.indexOf(":") + 1), 16);
      }
    }
  }
  return undefined;
}

/**
 * Runs a script of nbdsh and returns what it prints, parsed if it is JSON. The script has `h`, connected to the URI
 * unless that is null, libnbd, and the functions of the prelude: `show (x)` prints x as JSON (bytes as hex).
 */
export async function nbdsh(
  server: Target,
  script: string,
  uri: string | null = server.uri,
): Promise<unknown> {
  const connect = uri === null ? [] : ["-u", uri];
  const start = `uri = ${JSON.stringify(server.uri)}\n${prelude}`;
  const { code, stdout, stderr } = await run(
    ["nbdsh", "--base-allocation", "-c", start, ...connect, "-c", script],
    {
      // Only the system's Python has the module of libnbd.
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
import hashlib, json, os, time
from urllib.parse import quote as _quote
h.set_strict_mode (0)
def _plain(x):
    return bytes(x).hex() if isinstance(x, (bytes, bytearray)) else str(x)
def show(x):
    print(json.dumps(x, default=_plain))
def errno(call):
    """The name of the error of a call ("error" if it has none), or None."""
    try:
        call()
    except nbd.Error as e:
        return e.errno or "error"
    return None
def errnos(*calls):
    return [errno(call) for call in calls]
def refused(call):
    """Whether a call fails. If the server closes the connection, libnbd's error depends on timing."""
    return errno(call) is not None
def client(export=""):
    """Another connection with the settings of the first one."""
    place, mark, query = uri.partition("?")
    other = nbd.NBD()
    other.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    other.set_strict_mode(0)
    other.connect_uri(place + _quote(export, safe="") + mark + query)
    return other
def extents(count, offset, flags=0):
    """The extents as text: 4096 data, 512 hole+zero."""
    return _text(extent_list(count, offset, flags))
def all_extents(size):
    """The extents of a whole disk of this size."""
    found, at = [], 0
    while at < size:
        found += extent_list(size - at, at)
        at = sum(length for length, kind in found)
    return _text(found)
def _text(found):
    kinds = ["data", "hole", "zero", "hole+zero"]
    return ", ".join(f"{length} {kinds[kind]}" for length, kind in found)
def extent_list(count, offset, flags=0):
    found = []
    def entry(context, at, entries, err):
        found.append(list(zip(entries[0::2], entries[1::2])))
        return 0
    h.block_status(count, offset, entry, flags)
    return found[0]
def flags():
    """The flags of the export, by the names of libnbd's functions without is_ and can_."""
    names = ["is_read_only", "can_flush", "can_fua", "is_rotational", "can_trim", "can_zero",
             "can_fast_zero", "can_multi_conn", "can_cache", "can_df"]
    return " ".join(name.partition("_")[2] for name in names if getattr(h, name)())
def block_sizes():
    return [h.get_block_size(size) for size in (nbd.SIZE_MINIMUM, nbd.SIZE_PREFERRED, nbd.SIZE_MAXIMUM)]
def sha256(data):
    return hashlib.sha256(data).hexdigest()
def touch(path):
    open(path, "w").close()
def until(condition):
    while not condition():
        time.sleep(0.002)
def took(call):
    """How many seconds a call takes."""
    start = time.monotonic()
    call()
    return time.monotonic() - start
`;

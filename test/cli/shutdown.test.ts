/** --shutdown-timeout ends a server whose layers do not answer. */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { program, serve, type Served, until } from "#test/server";

import { isRunning } from "./daemon-fixture.ts";
import { start } from "./process-fixture.ts";
import { readAndLeave } from "./session-fixture.ts";

setDefaultTimeout(60_000);

const plugin = join(import.meta.dir, "hanging-fixture.ts");
const brief = "--shutdown-timeout=100ms";
const ended = "ending without waiting for layers after 0.1 s (--shutdown-timeout)";

const requests: Readonly<Record<string, number>> = {
  pread: 0,
  pwrite: 1,
  flush: 3,
  trim: 4,
  cache: 5,
  zero: 6,
};

/** Makes a client cause a call of the method. The shutdown itself calls cleanup and unload. */
async function call(server: Served, method: string): Promise<void> {
  const target = { unix: server.socket };
  const type = requests[method];
  if (/^(after_?fork|cleanup|unload)$/i.test(method)) return;
  if (method === "close") {
    const { client } = await NbdClient.ready(target);
    client.terminate();
  } else if (type === undefined) {
    // The negotiation hangs.
    void NbdClient.ready(target).catch(() => {});
  } else {
    const { client } = await NbdClient.ready(target);
    const payload = type === 1 ? { payload: new Uint8Array(4096) } : {};
    const count = method === "flush" ? 0 : 4096;
    client.request({ type, offset: 0n, count, ...payload });
  }
}

/** Sends SIGTERM while the method hangs, and returns how the server exited. */
async function stopIn(server: Served, method: string) {
  await call(server, method);
  if (!/^(cleanup|unload)$/.test(method)) await server.printed(new RegExp(`hanging: in ${method}`));
  const { code, stderr } = await server.stop();
  const line =
    /^nbdkit: .*: (\w+)(?: of (\d+) bytes at \d+)? has not been answered for \d+ s$/m.exec(stderr);
  return { code, stderr, method: line?.[1], line: line?.[0] };
}

describe("a TypeScript plugin that never answers", () => {
  test.each([
    ...["afterFork", "preconnect", "open", "getSize", "pread", "pwrite", "trim", "zero", "cache"],
    ...["descriptor", "flush", "close", "cleanup", "unload"],
  ])("does not prevent the shutdown: %s", async (method) => {
    await using server = await serve([brief, plugin, `method=${method}`]);
    const it = await stopIn(server, method);
    expect(it).toMatchObject({ code: 1, method });
    expect(it.line).toContain("hanging: ");
    expect(it.stderr).toContain(ended);
  });

  test("is logged with the client and range of its request, without the filter above it", async () => {
    await using server = await serve([brief, "--filter=cow", plugin, "method=pread"]);
    const { line, stderr } = await stopIn(server, "pread");
    expect(line).toContain("nbdkit: hanging[1]: error: hanging: pread of 4096 bytes at 0 ");
    expect(stderr.match(/has not been answered/g)?.length).toBe(1);
  });

  test("is flushed before the server exits", async () => {
    await using server = await serve([brief, plugin, "method=pread"]);
    const { stderr } = await stopIn(server, "pread");
    expect(stderr.indexOf("hanging: flushed")).toBeGreaterThan(0);
    expect(stderr.indexOf("hanging: flushed")).toBeLessThan(stderr.indexOf(ended));
  });

  test("does not prevent the exit after the command of --run has ended", async () => {
    await using server = start("-U", "-", brief, plugin, "method=cleanup", "--run", "true");
    const { code, stderr } = await server.ended();
    expect({ code, ended: stderr.includes(ended) }).toEqual({ code: 1, ended: true });
  });

  test.each([
    ["open", 20],
    ["pread", 48],
  ])(
    "does not prevent the exit of -s after its client has disconnected: %s",
    async (method, bytes) => {
      const child = Bun.spawn([...program, "-s", brief, plugin, `method=${method}`], {
        stdio: ["pipe", "pipe", "pipe"],
      });
      void child.stdin.write(readAndLeave(512).subarray(0, bytes));
      void child.stdin.end();
      const stderr = await new Response(child.stderr).text();
      expect(stderr).toContain(`hanging: ${method}`);
      expect(stderr).toContain(ended);
      expect(await child.exited).toBe(1);
    },
  );

  test("leaves behind neither the private socket nor a command that ignores SIGTERM", async () => {
    const run = `trap "" TERM; echo "$unixsocket $$" >&2; while :; do sleep 1; done`;
    await using server = start("-U", "-", brief, plugin, "method=cleanup", "--run", run);
    const [, socket = "", pid = ""] = await server.printed(/^(\/\S+) (\d+)$/m);
    expect(statSync(socket).isSocket()).toBe(true);
    server.process.kill("SIGTERM");
    const { code } = await server.ended();
    await until(() => !isRunning(Number(pid)));
    expect({ code, socket: existsSync(socket) }).toEqual({ code: 1, socket: false });
  });

  test("prevents the shutdown with --shutdown-timeout=0, until a second signal", async () => {
    await using server = await serve(["--shutdown-timeout=0", plugin, "method=cleanup"]);
    server.process.kill("SIGTERM");
    await server.printed(/hanging: in cleanup/);
    server.process.kill("SIGINT");
    expect((await server.stop()).code).toBe(130);
  });
});

test("a command of --run that ignores SIGTERM does not prevent the shutdown", async () => {
  const run = `trap "" TERM; echo "pid $$" >&2; while :; do sleep 1; done`;
  await using server = start("-U", "-", brief, "null", "--run", run);
  const [, pid = ""] = await server.printed(/^pid (\d+)$/m);
  server.process.kill("SIGTERM");
  const { code, stderr } = await server.ended();
  await until(() => !isRunning(Number(pid)));
  expect(code).toBe(1);
  expect(stderr).toContain("ending without waiting for the command of --run after 0.1 s");
});

describe.skipIf(!haveCompiler)("a C plugin in a deadlock (needs cc)", () => {
  test.each([
    "after_fork",
    "preconnect",
    "open",
    "get_size",
    "pread",
    "close",
    "cleanup",
    "unload",
  ])("does not prevent the shutdown: %s", async (method) => {
    const module = await compileModule("test/fixtures/deadlocked.c");
    await using server = await serve([brief, module, `method=${method}`]);
    const it = await stopIn(server, method);
    expect(it.code).toBe(1);
    expect(it.line).toContain("deadlocked: ");
    expect(it.method).toBe(method);
    expect(it.stderr).toContain(ended);
  });
});

describe("a plugin that hangs before clients are served", () => {
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-hanging-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  /** `load` runs before parameters are known, so a module of its own hangs there. */
  function moduleFor(method: string): readonly string[] {
    if (method !== "load") return [plugin, `method=${method}`];
    const path = join(folder, "load.ts");
    const load = `console.error("hanging: in load"); return new Promise(() => {});`;
    const rest = "open() {}, getSize: () => 0n, pread() {}";
    writeFileSync(path, `export default { name: "load", load() { ${load} }, ${rest} };`);
    return [path];
  }

  test.each(["load", "configComplete", "getReady", "afterFork"])(
    "uses no processor time: %s",
    async (method) => {
      await using server = start("-U", "-", ...moduleFor(method));
      await server.printed(new RegExp(`hanging: in ${method}`));
      expect(await sleeps(server.process.pid)).toBe(true);
      server.process.kill("SIGKILL");
      await server.ended();
    },
  );

  /** Whether the process uses no processor time for a while. */
  async function sleeps(pid: number): Promise<boolean> {
    const ticks = () => {
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
      return Number(fields[11]) + Number(fields[12]);
    };
    // At first Bun may still be compiling the code that it loaded.
    for (let tries = 0; tries < 20; tries++) {
      const before = ticks();
      const began = performance.now();
      await until(() => performance.now() - began > 200);
      if (ticks() - before <= 1) return true;
    }
    return false;
  }
});

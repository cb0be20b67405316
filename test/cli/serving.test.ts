/** Where the server listens, its pid file, and how signals end it. */
import { describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { NbdClient } from "#test/client";
import { isListening, program, run, until } from "#test/server";

import { start } from "./process-fixture.ts";

const life = join(import.meta.dir, "life-fixture.ts");

function temporaryFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "nbdkit-test-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

/** The events that the fixture printed. */
const events = (stderr: string) => stderr.match(/^life: .*$/gm);

describe("places", () => {
  test("-U - makes a private socket, and removes it at the end", async () => {
    await using server = start("-U-", "-v", life);
    const [, socket = ""] = await server.printed(/private socket (\S+)\n[^]*life: afterFork/);
    expect(socket).toMatch(/^\/tmp\/nbdkit[A-Za-z0-9]{6}\/socket$/);
    expect(statSync(dirname(socket)).mode & 0o7777).toBe(0o700);
    await using connection = (await NbdClient.ready({ unix: socket })).client;
    expect(connection.over).toBeFalse();
    server.process.kill("SIGTERM");
    const { code, stdout } = await server.ended();
    expect({ code, stdout, left: existsSync(dirname(socket)) }).toEqual({
      code: 0,
      stdout: "",
      left: false,
    });
  });

  test("-U names a socket, relative to the current folder", async () => {
    using folder = temporaryFolder();
    const command = 'printf "%s|%s|%s" "$unixsocket" "$port" "$uri"; test -S "$unixsocket"';
    const result = await run([...program, "-U", "a b", "null", "--run", command], {
      cwd: folder.path,
    });
    expect(result).toEqual({
      code: 0,
      stdout: `${folder.path}/a b||nbd+unix://?socket=${folder.path}/a%20b`,
      stderr: "",
    });
  });

  test("-p and -i name a TCP address", async () => {
    await using server = start(
      "-p0",
      "-i",
      "127.0.0.1",
      life,
      "--run",
      "echo port=$port >&2; sleep 60",
    );
    const [, port = ""] = await server.printed(/port=([0-9]+)\n/);
    await using connection = (await NbdClient.ready({ port: Number(port) })).client;
    expect(await connection.ask({ type: 0, count: 4 })).toMatchObject({
      error: 0,
      data: new Uint8Array(4).fill(0x6c),
    });
    server.process.kill("SIGTERM");
    expect(await server.ended()).toMatchObject({ code: 143, stdout: "" });
  });

  test("a socket that is there already is refused", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "file");
    writeFileSync(path, "keep");
    const { code, stdout, stderr } = await run([...program, "-U", path, "null"]);
    expect({ code, stdout, kept: readFileSync(path, "utf8") }).toEqual({
      code: 1,
      stdout: "",
      kept: "keep",
    });
    expect(stderr).toMatch(/^nbdkit: error: .*\n$/);
    expect(stderr).toContain(path);
  });

  test("a folder that cannot be looked into is refused", async () => {
    using folder = temporaryFolder();
    const loop = join(folder.path, "loop");
    symlinkSync(loop, loop);
    expect(await run([...program, "-U", `${loop}/sock`, "null"])).toEqual({
      code: 1,
      stdout: "",
      stderr: `nbdkit: error: ${loop}/sock: cannot listen on this address: Too many levels of symbolic links (ELOOP): expected a path without links that lead to themselves\n`,
    });
  });

  test.each([
    [
      "a directory that is not there",
      "none/sock",
      "No such file or directory (ENOENT): expected a path in a directory that exists",
    ],
    [
      "a file for a directory",
      "file/sock",
      "Not a directory (ENOTDIR): expected a path in a directory",
    ],
  ])("%s is refused with the expected values", async (_, name, words) => {
    using folder = temporaryFolder();
    writeFileSync(join(folder.path, "file"), "");
    const path = join(folder.path, name);
    expect(await run([...program, "-U", path, "null"])).toEqual({
      code: 1,
      stdout: "",
      stderr: `nbdkit: error: ${path}: cannot listen on this address: ${words}\n`,
    });
  });

  test("an existing socket in use, a stale socket or a file is named", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "sock");
    const refusal = async (at: string) => (await run([...program, "-U", at, "null"])).stderr;
    const beginning = (at: string) =>
      `nbdkit: error: ${at}: cannot listen on this path: it exists already: `;
    await using server = start("-U", path, "null");
    await until(() => isListening(path));
    expect(await refusal(path)).toBe(
      `${beginning(path)}another program listens there: end it, or choose another path\n`,
    );
    server.process.kill("SIGTERM");
    await server.ended();
    expect(await refusal(path)).toBe(
      `${beginning(path)}nothing listens there any more: remove it first\n`,
    );
    const file = join(folder.path, "file");
    writeFileSync(file, "");
    expect(await refusal(file)).toBe(
      `${beginning(file)}not a socket: expected a path where nothing is\n`,
    );
  });

  test("a port in use by another program is refused with advice", async () => {
    using held = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const { port } = held;
    expect(await run([...program, "-i", "127.0.0.1", "-p", `${port}`, "null"])).toEqual({
      code: 1,
      stdout: "",
      stderr:
        `nbdkit: error: 127.0.0.1:${port}: cannot listen on this address: Address already in use (EADDRINUSE): ` +
        "another program listens there: end it (`ss -ltnp` shows it), or take another port with -p (0 for any that is free)\n",
    });
  });

  test("a name that stands for no address is refused", async () => {
    const { code, stderr } = await run([...program, "-i", "no.such.host.invalid", "-p0", "null"]);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^nbdkit: error: no\.such\.host\.invalid: cannot listen on this address: .*\n$/,
    );
  });

  test("an address that this machine does not have is refused", async () => {
    const { code, stdout, stderr } = await run([...program, "-i", "192.0.2.1", "-p0", "null"]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toBe(
      "nbdkit: error: 192.0.2.1:0: cannot listen on this address: Cannot assign requested address " +
        "(EADDRNOTAVAIL): expected an address of this machine, as `ip address` shows them\n",
    );
  });
});

describe("options that clients see", () => {
  const flags = async (...args: string[]) => {
    await using server = start("-U-", "-v", life, ...args);
    const [, socket = ""] = await server.printed(/private socket (\S+)\n[^]*life: afterFork/);
    const { client, export: disk } = await NbdClient.ready({ unix: socket }, "the name");
    await using _ = client;
    const [, opened = ""] = await server.printed(/^life: open (.*)$/m);
    server.process.kill("SIGTERM");
    await server.ended();
    return { size: disk.size, readonly: (disk.eflags & 2) !== 0, opened };
  };

  test("-r makes the export read-only, and the layers know", async () => {
    expect(await flags("-r")).toEqual({
      size: 1048576n,
      readonly: true,
      opened: 'true "the name"',
    });
  });

  test("without it the export can be written; the bare word is the size", async () => {
    expect(await flags("2k")).toEqual({ size: 2048n, readonly: false, opened: 'false "the name"' });
  });

  test("-e does not limit the exports", async () => {
    expect((await flags("-e", "other")).opened).toBe('false "the name"');
  });
});

describe("the pid file", () => {
  test("is written once clients can connect, readable for all, and stays", async () => {
    using folder = temporaryFolder();
    const pidFile = join(folder.path, "pid");
    const command = `cat '${pidFile}'; stat -c %a '${pidFile}'`;
    await using server = start("-P", pidFile, "null", "--run", command);
    expect(await server.ended()).toEqual({
      code: 0,
      stdout: `${server.process.pid}\n644\n`,
      stderr: "",
    });
    expect(readFileSync(pidFile, "utf8")).toBe(`${server.process.pid}\n`);
  });

  test("that cannot be written ends the server", async () => {
    const result = await run([...program, "-U-", "-P", "/nowhere/pid", life]);
    expect({ ...result, stderr: result.stderr.split("\n").at(-2) }).toEqual({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(
        /^nbdkit: error: cannot write the pid file \/nowhere\/pid: ENOENT/,
      ),
    });
  });

  test("is there before afterFork", async () => {
    using folder = temporaryFolder();
    const pidFile = join(folder.path, "pid");
    const result = await run([...program, "-U-", "-P", pidFile, life, "fail=afterFork"]);
    expect({ ...result, written: existsSync(pidFile) }).toEqual({
      code: 1,
      stdout: "",
      stderr: "life: load\nlife: getReady\nnbdkit: error: life: afterFork failed as asked\n",
      written: true,
    });
  });
});

describe("signals", () => {
  test.each(["SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP"] as const)(
    "%s ends the server in order, with a client connected",
    async (signal) => {
      using folder = temporaryFolder();
      const socket = join(folder.path, "sock");
      await using server = start("-fU", socket, life);
      await server.printed(/life: afterFork/);
      await using connection = (await NbdClient.ready({ unix: socket })).client;
      server.process.kill(signal);
      await connection.closed;
      const { code, stdout, stderr } = await server.ended();
      expect({ code, stdout, events: events(stderr) }).toEqual({
        code: 0,
        stdout: "",
        events: [
          "life: load",
          "life: getReady",
          "life: afterFork",
          'life: open false ""',
          "life: close",
          "life: cleanup",
          "life: unload",
        ],
      });
    },
  );

  test("a second one ends it at once, and still removes the private socket", async () => {
    await using server = start("-U-", "-v", life, "fail=cleanupHangs");
    const [, socket = ""] = await server.printed(/private socket (\S+)\n[^]*life: afterFork/);
    server.process.kill("SIGTERM");
    await server.printed(/life: cleanup hangs/);
    server.process.kill("SIGINT");
    const { code, stdout, stderr } = await server.ended();
    expect({ code, stdout, left: existsSync(dirname(socket)) }).toEqual({
      code: 130,
      stdout: "",
      left: false,
    });
    expect(events(stderr)).not.toContain("life: unload");
  });

  test("a layer that never comes to an end costs no processor time", async () => {
    await using server = start("-U-", life, "fail=cleanupHangs");
    await server.printed(/life: afterFork/);
    server.process.kill("SIGTERM");
    await server.printed(/life: cleanup hangs/);
    // proc(5): the state, behind the name. One that spins is never found asleep.
    const state = (): string =>
      readFileSync(`/proc/${server.process.pid}/stat`, "latin1")
        .replace(/.*[)] /, "")
        .slice(0, 1);
    await until(() => state() === "S");
    server.process.kill("SIGINT");
    expect(await server.ended()).toMatchObject({ code: 130 });
  });

  test("one that arrives twice, as Ctrl-C does below `bun run`, counts once", async () => {
    await using server = start("-U-", "-v", life, "fail=cleanupHangs");
    await server.printed(/life: afterFork/);
    server.process.kill("SIGINT");
    await server.printed(/SIGINT: stopping/);
    server.process.kill("SIGINT");
    await server.printed(/life: cleanup hangs/);
    server.process.kill("SIGTERM");
    expect(await server.ended()).toMatchObject({ code: 143, stdout: "" });
  });

  test("SIGPIPE does nothing", async () => {
    await using server = start("-U-", "-v", life);
    const [, socket = ""] = await server.printed(/private socket (\S+)\n[^]*life: afterFork/);
    server.process.kill("SIGPIPE");
    await using connection = (await NbdClient.ready({ unix: socket })).client;
    expect(connection.over).toBeFalse();
    server.process.kill("SIGTERM");
    expect(await server.ended()).toMatchObject({ code: 0, stdout: "" });
  });
});

test("files are made with umask 022, whatever the caller's is", async () => {
  const words = program.map((word) => `'${word}'`).join(" ");
  const command = `umask 077; exec ${words} null --run umask`;
  expect(await run(["/bin/sh", "-c", command])).toEqual({ code: 0, stdout: "0022\n", stderr: "" });
});

/** The addresses that the server listens on, its pid file, and the signals that stop it. */
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { NbdClient } from "#test/client";
import { isListening, program, run, until } from "#test/server";
import { shellCommand } from "#test/shell";

import { Folder } from "./daemon-fixture.ts";
import { start } from "./process-fixture.ts";

const life = join(import.meta.dir, "life-fixture.ts");

/** The events that the fixture printed. */
const events = (stderr: string) => stderr.match(/^life: .*$/gm);

describe("the server", () => {
  test("makes a private socket for -U -, and removes it at the end", async () => {
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

  test("listens on the socket of -U, relative to the current folder", async () => {
    using folder = new Folder();
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

  test("listens on the TCP address of -p and -i", async () => {
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

  test.each([
    ["none/sock", "No such file or directory (ENOENT): expected a path in a directory that exists"],
    ["file/sock", "Not a directory (ENOTDIR): expected a path in a directory"],
    [
      "loop/sock",
      "Too many levels of symbolic links (ELOOP): expected a path without links that lead to themselves",
    ],
  ])("refuses -U %s with the reason and what is expected", async (name, reason) => {
    using folder = new Folder();
    writeFileSync(folder.file("file"), "");
    symlinkSync(folder.file("loop"), folder.file("loop"));
    const path = folder.file(name);
    expect(await run([...program, "-U", path, "null"])).toEqual({
      code: 1,
      stdout: "",
      stderr: `nbdkit: error: ${path}: cannot listen on this address: ${reason}\n`,
    });
  });

  test("refuses an existing path: a socket in use, a stale socket, or a file, which it keeps", async () => {
    using folder = new Folder();
    const path = folder.file("sock");
    const refusal = (at: string) => run([...program, "-U", at, "null"]);
    const refused = (at: string, reason: string) => {
      const stderr = `nbdkit: error: ${at}: cannot listen on this path: it exists already: ${reason}\n`;
      return { code: 1, stdout: "", stderr };
    };
    await using server = start("-U", path, "null");
    await until(() => isListening(path));
    expect(await refusal(path)).toEqual(
      refused(path, "another program listens there: end it, or choose another path"),
    );
    server.process.kill("SIGTERM");
    await server.ended();
    expect(await refusal(path)).toEqual(
      refused(path, "nothing listens there any more: remove it first"),
    );
    const file = folder.file("file");
    writeFileSync(file, "keep");
    expect(await refusal(file)).toEqual(
      refused(file, "not a socket: expected a path where nothing is"),
    );
    expect(readFileSync(file, "utf8")).toBe("keep");
  });

  test("refuses a port in use, with advice", async () => {
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

  test("refuses a host name without an address", async () => {
    const { code, stderr } = await run([...program, "-i", "no.such.host.invalid", "-p0", "null"]);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^nbdkit: error: no\.such\.host\.invalid: cannot listen on this address: .*\n$/,
    );
  });

  test("refuses an address that this machine does not have", async () => {
    const { code, stdout, stderr } = await run([...program, "-i", "192.0.2.1", "-p0", "null"]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toBe(
      "nbdkit: error: 192.0.2.1:0: cannot listen on this address: Cannot assign requested address " +
        "(EADDRNOTAVAIL): expected an address of this machine, as `ip address` shows them\n",
    );
  });
});

describe("an export", () => {
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

  test("is read-only with -r, for clients and layers", async () => {
    expect(await flags("-r")).toEqual({
      size: 1048576n,
      readonly: true,
      opened: 'true "the name"',
    });
  });

  test("is writable without -r, and the bare word is its size", async () => {
    expect(await flags("2k")).toEqual({ size: 2048n, readonly: false, opened: 'false "the name"' });
  });

  test("may have another name than -e says", async () => {
    expect((await flags("-e", "other")).opened).toBe('false "the name"');
  });
});

describe("the pid file", () => {
  test("is written once clients can connect, is readable for everyone, and stays", async () => {
    using folder = new Folder();
    const pidFile = folder.file("pid");
    const command = `cat '${pidFile}'; stat -c %a '${pidFile}'`;
    await using server = start("-P", pidFile, "null", "--run", command);
    expect(await server.ended()).toEqual({
      code: 0,
      stdout: `${server.process.pid}\n644\n`,
      stderr: "",
    });
    expect(readFileSync(pidFile, "utf8")).toBe(`${server.process.pid}\n`);
  });

  test("ends the server if it cannot be written", async () => {
    const result = await run([...program, "-U-", "-P", "/nowhere/pid", life]);
    expect({ ...result, stderr: result.stderr.split("\n").at(-2) }).toEqual({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(
        /^nbdkit: error: cannot write the pid file \/nowhere\/pid: No such file or directory$/,
      ),
    });
  });

  test("is written before afterFork", async () => {
    using folder = new Folder();
    const pidFile = folder.file("pid");
    const result = await run([...program, "-U-", "-P", pidFile, life, "fail=afterFork"]);
    expect({ ...result, written: existsSync(pidFile) }).toEqual({
      code: 1,
      stdout: "",
      stderr: "life: load\nlife: getReady\nnbdkit: error: life: afterFork failed as asked\n",
      written: true,
    });
  });
});

describe("the server", () => {
  test.each(["SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP"] as const)(
    "stops in order on %s, with a client connected",
    async (signal) => {
      using folder = new Folder();
      const socket = folder.file("sock");
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

  test("exits at once on a second signal, and still removes the private socket", async () => {
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

  test("uses no processor time while cleanup hangs", async () => {
    await using server = start("-U-", life, "fail=cleanupHangs");
    await server.printed(/life: afterFork/);
    server.process.kill("SIGTERM");
    await server.printed(/life: cleanup hangs/);
    // proc(5): the state follows the name. A process that spins is never asleep.
    const state = (): string =>
      readFileSync(`/proc/${server.process.pid}/stat`, "latin1")
        .replace(/.*[)] /, "")
        .slice(0, 1);
    await until(() => state() === "S");
    server.process.kill("SIGINT");
    expect(await server.ended()).toMatchObject({ code: 130 });
  });

  test("treats two SIGINTs, which Ctrl-C causes under `bun run`, as one", async () => {
    await using server = start("-U-", "-v", life, "fail=cleanupHangs");
    await server.printed(/life: afterFork/);
    server.process.kill("SIGINT");
    await server.printed(/SIGINT: stopping/);
    server.process.kill("SIGINT");
    await server.printed(/life: cleanup hangs/);
    server.process.kill("SIGTERM");
    expect(await server.ended()).toMatchObject({ code: 143, stdout: "" });
  });

  test("ignores SIGPIPE", async () => {
    await using server = start("-U-", "-v", life);
    const [, socket = ""] = await server.printed(/private socket (\S+)\n[^]*life: afterFork/);
    server.process.kill("SIGPIPE");
    await using connection = (await NbdClient.ready({ unix: socket })).client;
    expect(connection.over).toBeFalse();
    server.process.kill("SIGTERM");
    expect(await server.ended()).toMatchObject({ code: 0, stdout: "" });
  });
});

test("the server sets umask 022, whatever the caller's umask is", async () => {
  const command = `umask 077; exec ${shellCommand(program)} null --run umask`;
  expect(await run(["/bin/sh", "-c", command])).toEqual({ code: 0, stdout: "0022\n", stderr: "" });
});

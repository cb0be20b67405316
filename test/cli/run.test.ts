/** --run: the exit status, the shell variables, and the lives of the command and of the server. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";

import { installed, program, run, until } from "#test/server";

import { isRunning } from "./daemon-fixture.ts";
import { start } from "./process-fixture.ts";

const life = join(import.meta.dir, "life-fixture.ts");
const captive = (command: string, ...args: string[]) =>
  run([...program, ...args, "null", "4k", "--run", command]);

describe("the exit status", () => {
  test.each([
    ["true", 0],
    ["exit 3", 3],
    ["exit 255", 255],
    ["kill -KILL $$", 137],
    ["kill -USR1 $$", 138],
    ["no-such-command 2>&1 | cat >&2; exit 9", 9],
  ])("of %j is %d", async (command, code) => {
    const result = await captive(command);
    expect({ code: result.code, stdout: result.stdout }).toEqual({ code, stdout: "" });
  });

  test("of a command with a syntax error is the shell's", async () => {
    const { code, stdout, stderr } = await captive("if");
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).not.toBe("");
  });
});

describe("the shell variables", () => {
  const show =
    'printf "%s|" "$uri" "$nbd" "$exportname" "$port" "$unixsocket"; env | grep -c ^uri=; :';

  test("name a private socket without -U and -p, which is removed afterwards", async () => {
    const { code, stdout, stderr } = await captive(show, "-e", "it's a/name");
    const [uri, nbd, name, port, socket = "", exported] = stdout.split("|");
    expect({ code, stderr, uri, nbd, name, port, exported }).toEqual({
      code: 0,
      stderr: "",
      uri: `nbd+unix:///it%27s%20a/name?socket=${socket}`,
      nbd: `nbd+unix:///it%27s%20a/name?socket=${socket}`,
      name: "it's a/name",
      port: "",
      exported: "0\n",
    });
    expect(socket).toMatch(/^\/tmp\/nbdkit[A-Za-z0-9]{6}\/socket$/);
    expect(existsSync(dirname(socket))).toBeFalse();
  });

  test("hold the port with -p 0", async () => {
    const { code, stdout, stderr } = await captive(show, "-p", "0");
    const port = stdout.split("|")[3];
    expect(Number(port)).toBeGreaterThan(0);
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: `nbd://localhost:${port}|nbd://localhost:${port}||${port}||0\n`,
      stderr: "",
    });
  });
});

describe("the command", () => {
  test("inherits the standard streams", async () => {
    const command = [...program, "null", "--run", "cat; echo to stderr >&2"];
    expect(await run(command, { stdin: "from stdin" })).toEqual({
      code: 0,
      stdout: "from stdin",
      stderr: "to stderr\n",
    });
  });

  test("starts after after_fork and ends before cleanup", async () => {
    const result = await run([...program, life, "--run", "echo command >&2"]);
    expect(result).toEqual({
      code: 0,
      stdout: "",
      stderr:
        ["load", "getReady", "afterFork"].map((event) => `life: ${event}\n`).join("") +
        "command\n" +
        ["cleanup", "unload"].map((event) => `life: ${event}\n`).join(""),
    });
  });

  test("is not started if the server cannot start", async () => {
    const result = await run([...program, "bad-plugin", "--run", "echo started"]);
    expect(result).toMatchObject({ code: 1, stdout: "" });
  });

  test.skipIf(!installed("nbdinfo"))("can connect to the server (needs nbdinfo)", async () => {
    expect(await captive('nbdinfo --size "$uri"; nbdinfo --size "$nbd"')).toEqual({
      code: 0,
      stdout: "4096\n4096\n",
      stderr: "",
    });
    expect(await captive('nbdinfo --size "$uri"', "-p0")).toEqual({
      code: 0,
      stdout: "4096\n",
      stderr: "",
    });
  });

  test("does not inherit an ignored SIGPIPE", async () => {
    expect(await captive("sh -c 'kill -PIPE $$; echo survived'; echo $?")).toMatchObject({
      code: 0,
      stdout: "141\n",
    });
  });

  test.each(["SIGTERM", "SIGINT"] as const)(
    "is terminated with its child processes when %s stops the server",
    async (signal) => {
      await using server = start(life, "--run", "sleep 1000 & echo pids $$ $! >&2; wait; exit 5");
      const [, shell = "", sleep = ""] = await server.printed(/pids (\d+) (\d+)\n/);
      server.process.kill(signal);
      const { code, stdout, stderr } = await server.ended();
      expect({ code, stdout }).toEqual({ code: 143, stdout: "" });
      expect(stderr).toEndWith("life: cleanup\nlife: unload\n");
      expect(isRunning(Number(shell))).toBeFalse();
      await until(() => !isRunning(Number(sleep)));
    },
  );

  const last = ["--filter", join(import.meta.dir, "leaving-fixture.ts"), "null", "4k"];
  const client = 'nbdinfo --size "$uri"; ';

  test.skipIf(!installed("nbdinfo"))(
    "continues when a module shuts the server down, which removes its socket (needs nbdinfo)",
    async () => {
      const command = `${client} while test -e "$unixsocket"; do :; done; echo after; exit 5`;
      const result = await run([...program, ...last, "--run", command]);
      expect(result).toEqual({ code: 5, stdout: "4096\nafter\n", stderr: "" });
    },
  );

  test.skipIf(!installed("nbdinfo"))(
    "is terminated by a signal that arrives after a module has shut the server down (needs nbdinfo)",
    async () => {
      const command = `${client} while test -e "$unixsocket"; do :; done; echo gone >&2; sleep 1000`;
      await using server = start(...last, "--run", command);
      await server.printed(/gone/);
      server.process.kill("SIGTERM");
      expect(await server.ended()).toEqual({ code: 143, stdout: "4096\n", stderr: "gone\n" });
    },
  );

  test("may choose the exit status when a signal stops the server", async () => {
    const command = "trap 'exit 7' TERM; echo ready >&2; while :; do sleep 1000 & wait; done";
    await using server = start("null", "--run", command);
    await server.printed(/ready/);
    server.process.kill("SIGTERM");
    expect(await server.ended()).toEqual({ code: 7, stdout: "", stderr: "ready\n" });
  });

  test("continues when a module throws an error outside of all callbacks", async () => {
    await using server = start(life, "fail=later", "--run", "echo pid $$ >&2; sleep 1000");
    await server.printed(/pid (\d+)\n/);
    server.process.kill("SIGUSR2");
    await server.printed(/an error was not caught.*TypeError: a late bug as asked/);
    server.process.kill("SIGTERM");
    const { stdout, stderr } = await server.ended();
    expect(stdout).toBe("");
    expect(stderr).toMatch(
      /nbdkit: error: an error was not caught, .*: TypeError: a late bug as asked\n +at /,
    );
  });
});

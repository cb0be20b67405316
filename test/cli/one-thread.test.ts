/** Callbacks of C modules run in the same thread and process as in nbdkit. */
import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";

import { compileModule, haveCompiler } from "#test/modules";
import { installed, program, run, serve } from "#test/server";
import { shellCommand } from "#test/shell";

import { Folder, servers } from "./daemon-fixture.ts";
import { readAndLeave } from "./session-fixture.ts";

const models = {
  parallel: "NBDKIT_THREAD_MODEL_PARALLEL",
  serialize_requests: "NBDKIT_THREAD_MODEL_SERIALIZE_REQUESTS",
  serialize_all_requests: "NBDKIT_THREAD_MODEL_SERIALIZE_ALL_REQUESTS",
  serialize_connections: "NBDKIT_THREAD_MODEL_SERIALIZE_CONNECTIONS",
} as const;

const module = (model: keyof typeof models) =>
  compileModule("test/fixtures/one-thread.c", { defines: { MODEL: models[model] } });

/** The fixture's message for each callback, the last if it was called several times. */
function reported(stderr: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    stderr
      .split("\n")
      .filter(Boolean)
      .map((line) => line.split(": ", 2)),
  );
}

const life = ["load", "config_complete", "get_ready", "after_fork", "open", "get_size", "pread"];
const callbacks = [...life, "close", "cleanup", "unload"];

describe.skipIf(!haveCompiler)("with -s a module (needs cc)", () => {
  test.each(
    servers.flatMap(([name, command]) =>
      Object.keys(models).map((model) => [name, model, command] as const),
    ),
  )("is called on the thread that loaded it (%s, %s)", async (_, model, command) => {
    using folder = new Folder();
    writeFileSync(folder.file("in"), readAndLeave(512));
    const path = await module(model as keyof typeof models);
    const shell = `${shellCommand([...command, "-s", path])} <'${folder.file("in")}' >/dev/null`;
    const { code, stderr } = await run(["/bin/sh", "-c", shell]);
    const expected = Object.fromEntries(callbacks.map((name) => [name, "same thread"]));
    // Requests that may run in parallel run on request threads.
    if (model === "parallel") expected["pread"] = "another thread";
    expect({ code, reported: reported(stderr) }).toEqual({ code: 0, reported: expected });
  });

  test.skipIf(!installed("perl"))(
    "in Perl may start a program in open (needs nbdkit-plugin-perl)",
    async () => {
      using folder = new Folder();
      writeFileSync(folder.file("in"), readAndLeave(512));
      const script =
        'sub open { my $it = `echo of a program`; chomp $it; print STDERR "$it\\n"; return {} }\n' +
        'sub get_size { return 4096 }\nsub pread { return "\\0" x $_[1] }\n1;\n';
      writeFileSync(folder.file("disk.pl"), script);
      const server = shellCommand([...program, "-s", "perl", folder.file("disk.pl")]);
      const shell = `${server} <'${folder.file("in")}' | wc -c`;
      expect(await run(["/bin/sh", "-c", shell])).toEqual({
        code: 0,
        stdout: `${28 + 16 + 512}\n`,
        stderr: "of a program\n",
      });
    },
  );
});

describe.skipIf(!haveCompiler)("getpid in a module (needs cc)", () => {
  const early = { config_complete: "same process", get_ready: "same process" };

  test.each(servers)("changes once a daemon has detached (%s)", async (_, command) => {
    using folder = new Folder();
    const numbers = folder.file("numbers");
    const args = ["-U", folder.file("sock"), await module("parallel"), `numbers=${numbers}`];
    await using daemon = await folder.daemon(args, command);
    expect(daemon.ran.code).toBe(0);
    await daemon.end();
    const late = ["after_fork", "cleanup", "unload"].map((name) => [name, "another process"]);
    expect(reported(readFileSync(numbers, "utf8"))).toEqual({
      ...early,
      ...Object.fromEntries(late),
    });
  });

  test.each(servers)("stays the same in the foreground (%s)", async (_, command) => {
    using folder = new Folder();
    const numbers = folder.file("numbers");
    const args = [await module("parallel"), `numbers=${numbers}`];
    await using server = await serve(args, { program: command });
    expect((await server.stop()).code).toBe(0);
    const late = ["after_fork", "cleanup", "unload"].map((name) => [name, "same process"]);
    expect(reported(readFileSync(numbers, "utf8"))).toEqual({
      ...early,
      ...Object.fromEntries(late),
    });
  });
});

describe.skipIf(!haveCompiler)("a C module (needs cc)", () => {
  test.each(servers)("reads nbdkit as the name of its program (%s)", async (_, command) => {
    const path = await compileModule("test/fixtures/surroundings.c");
    const { code, stdout } = await run([...command, "--dump-plugin", path]);
    expect(code).toBe(0);
    expect(
      stdout.split("\n").filter((line) => line.includes("name=") && !line.startsWith("name")),
    ).toEqual(["short_name=nbdkit"]);
  });
});

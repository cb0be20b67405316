/** The thread and the process that callbacks run in, as modules see them: those of nbdkit. */
import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";

import { compileModule, haveCompiler } from "#test/modules";
import { installed, program, run, serve } from "#test/server";

import { Folder, servers } from "./daemon-fixture.ts";

/** Negotiation by EXPORT_NAME, a read of 512 bytes, and the end. */
const asks = Buffer.concat([
  Buffer.from([0, 0, 0, 3]),
  Buffer.from("IHAVEOPT"),
  Buffer.from([0, 0, 0, 1, 0, 0, 0, 0]),
  Buffer.from("25609513000000000000000000000001000000000000000000000200", "hex"),
  Buffer.from("25609513000000020000000000000002000000000000000000000000", "hex"),
]);

const models = {
  parallel: "NBDKIT_THREAD_MODEL_PARALLEL",
  serialize_requests: "NBDKIT_THREAD_MODEL_SERIALIZE_REQUESTS",
  serialize_all_requests: "NBDKIT_THREAD_MODEL_SERIALIZE_ALL_REQUESTS",
  serialize_connections: "NBDKIT_THREAD_MODEL_SERIALIZE_CONNECTIONS",
} as const;

const module = (model: keyof typeof models) =>
  compileModule("test/fixtures/one-thread.c", { defines: { MODEL: models[model] } });

/** What the fixture said of each callback; of several times one. */
function said(stderr: string): Readonly<Record<string, string>> {
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
    writeFileSync(folder.file("in"), asks);
    const path = await module(model as keyof typeof models);
    const words = [...command, "-s", path].map((word) => `'${word}'`).join(" ");
    const shell = `${words} <'${folder.file("in")}' >/dev/null`;
    const { code, stderr } = await run(["/bin/sh", "-c", shell]);
    const expected = Object.fromEntries(callbacks.map((name) => [name, "same thread"]));
    // Requests that may run in parallel have threads of their own.
    if (model === "parallel") expected["pread"] = "another thread";
    expect({ code, said: said(stderr) }).toEqual({ code: 0, said: expected });
  });

  test.skipIf(!installed("perl"))(
    "in Perl may start programs in open (needs nbdkit-plugin-perl)",
    async () => {
      using folder = new Folder();
      writeFileSync(folder.file("in"), asks);
      const script =
        'sub open { my $it = `echo of a program`; chomp $it; print STDERR "$it\\n"; return {} }\n' +
        'sub get_size { return 4096 }\nsub pread { return "\\0" x $_[1] }\n1;\n';
      writeFileSync(folder.file("disk.pl"), script);
      const words = [...program, "-s", "perl", folder.file("disk.pl")];
      const shell = `${words.map((word) => `'${word}'`).join(" ")} <'${folder.file("in")}' | wc -c`;
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

  test.each(servers)("gives another number once a daemon has detached (%s)", async (_, command) => {
    using folder = new Folder();
    const numbers = folder.file("numbers");
    const args = ["-U", folder.file("sock"), await module("parallel"), `numbers=${numbers}`];
    await using daemon = await folder.daemon(args, command);
    expect(daemon.ran.code).toBe(0);
    await daemon.end();
    const late = ["after_fork", "cleanup", "unload"].map((name) => [name, "another process"]);
    expect(said(readFileSync(numbers, "utf8"))).toEqual({ ...early, ...Object.fromEntries(late) });
  });

  test.each(servers)("gives one number in the foreground (%s)", async (_, command) => {
    using folder = new Folder();
    const numbers = folder.file("numbers");
    const args = [await module("parallel"), `numbers=${numbers}`];
    await using server = await serve(args, { program: command });
    expect((await server.stop()).code).toBe(0);
    const late = ["after_fork", "cleanup", "unload"].map((name) => [name, "same process"]);
    expect(said(readFileSync(numbers, "utf8"))).toEqual({ ...early, ...Object.fromEntries(late) });
  });
});

describe.skipIf(!haveCompiler)("the program's name (needs cc)", () => {
  test.each(servers)("in a module's messages is nbdkit (%s)", async (_, command) => {
    const path = await compileModule("test/fixtures/surroundings.c");
    const { code, stdout } = await run([...command, "--dump-plugin", path]);
    expect(code).toBe(0);
    expect(
      stdout.split("\n").filter((line) => line.includes("name=") && !line.startsWith("name")),
    ).toEqual(["short_name=nbdkit"]);
  });
});

/** The limit of open files: C modules and child processes get the limit that the server was started with. */
import { describe, expect, test } from "bun:test";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler, temporaryFolder } from "#test/modules";
import { run, serve } from "#test/server";

const launcher = join(import.meta.dir, "..", "..", "bin", "nbdkit");

/** The launcher with a soft limit. */
function limited(limit: number): readonly string[] {
  return ["sh", "-c", `ulimit -Sn ${limit} && exec "$@"`, "sh", launcher];
}

function softLimit(pid: number): number {
  const limits = readFileSync(`/proc/${pid}/limits`, "utf8");
  return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1]);
}

describe("the limit of open files", () => {
  test("of the command of --run is the one that the server was started with", async () => {
    const { code, stdout } = await run([...limited(321), "-U", "-", "null", "--run", "ulimit -Sn"]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "321\n" });
  });

  test("is raised for a chain in TypeScript", async () => {
    await using server = await serve(["null"], { program: limited(321) });
    expect(softLimit(server.process.pid)).toBeGreaterThan(321);
  });

  test("of a plugin that is a program is the one that the server was started with", async () => {
    const folder = temporaryFolder();
    const path = join(folder, "nbdkit-limits-plugin");
    writeFileSync(path, "#!/bin/sh\nulimit -Sn\necho ${NBDKIT_OPEN_FILES-unset}\n");
    chmodSync(path, 0o755);
    const { code, stdout } = await run([...limited(321), "limits"], {
      env: { NBDKIT_PLUGINDIR: folder },
    });
    expect({ code, stdout }).toEqual({ code: 0, stdout: "321\nunset\n" });
  });
});

describe.skipIf(!haveCompiler)("the limit of open files with a C module (needs cc)", () => {
  const module = () => compileModule("test/fixtures/surroundings.c");

  test("is the one that the server was started with, for the module and its child processes", async () => {
    const { code, stdout } = await run([...limited(321), "--dump-plugin", await module()]);
    expect(code).toBe(0);
    expect(stdout.split("\n").filter((line) => line.includes("open_files="))).toEqual([
      "open_files=321",
      "child_open_files=321",
    ]);
  });

  test("may be lower than a descriptor that the command of --run inherits", async () => {
    const begin = 'exec 100</dev/null && ulimit -Sn 64 && exec "$@"';
    const command = "ulimit -Sn; readlink /proc/self/fd/100";
    const args = ["-U", "-", await module(), "--run", command];
    expect(await run(["bash", "-c", begin, "bash", launcher, ...args])).toEqual({
      code: 0,
      stdout: "64\n/dev/null\n",
      stderr: "",
    });
  });

  test("is the same in the background", async () => {
    const folder = temporaryFolder();
    const [socket, pidFile] = [join(folder, "limit.sock"), join(folder, "limit.pid")];
    const args = ["-U", socket, "-P", pidFile, await module()];
    expect(await run([...limited(321), ...args])).toEqual({ code: 0, stdout: "", stderr: "" });
    const pid = Number(readFileSync(pidFile, "utf8"));
    try {
      expect(softLimit(pid)).toBe(321);
    } finally {
      process.kill(pid);
    }
  });

  test("bounds the number of clients", async () => {
    await using server = await serve([await module()], { program: limited(64) });
    const clients = await Promise.all(
      Array.from({ length: 80 }, () => NbdClient.connect({ unix: server.socket })),
    );
    await server.printed(/few of the 64 descriptors/);
    expect((await server.stop()).code).toBe(0);
    await Promise.all(clients.map(({ closed }) => closed));
  });
});

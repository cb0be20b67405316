/** A server with few rights or resources either works or prints one line that says what it lacks. */
import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler, runCompiler, temporaryFolder } from "#test/modules";
import { installed, program, run, serve } from "#test/server";

const launcher = join(import.meta.dir, "..", "..", "bin", "nbdkit");
const isRoot = process.getuid?.() === 0;
const served = ["-U", "-", "memory", "1M", "--run", "echo served"];
const worked = { code: 0, stdout: "served\n", stderr: "" };
const cannotStart = "nbdkit: error: Bun cannot start with what this process may have: ";
const refused = (message: string) => ({ code: 1, stdout: "", stderr: `${message}\n` });

/** A shell that runs the script, then the command. */
const after = (script: string, command: readonly string[]) => [
  "sh",
  "-c",
  `${script} && exec "$@"`,
  "sh",
  ...command,
];

/** The same in a mount namespace of its own, where the script may mount over folders. */
const alone = (script: string, command: readonly string[]) => [
  "unshare",
  "-m",
  ...after(script, command),
];

/** The project is mounted here too, since it may be in /tmp or in a folder that other users cannot read. */
const root = "/srv";
const elsewhere = `mount --bind '${join(import.meta.dir, "..", "..")}' ${root}`;
const moved = join(root, "bin", "nbdkit");

describe("the server", () => {
  test.each([
    ["ulimit -Sv 1048576", worked],
    ["ulimit -Sd 262144", worked],
    ["ulimit -Ss 512", worked],
    ["ulimit -Sn 20", worked],
    [
      "ulimit -Sn 12",
      refused(
        "nbdkit: error: the server cannot start with so few open files: ulimit -n 12 (expected 16 or more)",
      ),
    ],
    ["ulimit -Sv 300000", refused(`${cannotStart}ulimit -v 300000 (expected 600000 or more)`)],
    ["ulimit -Sd 150000", refused(`${cannotStart}ulimit -d 150000 (expected 262144 or more)`)],
    ["ulimit -Ss 100", refused(`${cannotStart}ulimit -s 100 (expected 256 or more)`)],
  ])("starts with %s, or names the limit", async (limit, expected) => {
    expect(await run(after(limit, [launcher, ...served]))).toEqual(expected);
  });

  test.skipIf(!haveCompiler).each(["ulimit -Sv 1048576", "ulimit -Sd 262144"])(
    "loads a C module with %s (needs cc)",
    async (limit) => {
      const path = await compileModule("test/fixtures/surroundings.c");
      const args = ["-U", "-", path, "--run", "echo served"];
      expect(await run(after(limit, [launcher, ...args]))).toEqual(worked);
    },
  );

  const mayMove = isRoot && installed("setpriv") && installed("unshare");
  test.skipIf(!mayMove)(
    "starts with ulimit -u, or names the limit (needs root, setpriv, unshare)",
    async () => {
      const other = ["setpriv", "--reuid=64999", "--regid=64999", "--clear-groups"];
      const limited = (n: number) => {
        const shell = ["bash", "-c", `ulimit -u ${n}; exec "$@"`, "bash"];
        return run(alone(elsewhere, [...other, ...shell, moved, ...served]));
      };
      expect(await limited(5)).toEqual(
        refused(`${cannotStart}ulimit -u 5 (expected 30 more than the user has processes)`),
      );
      expect(await limited(100)).toEqual(worked);
    },
  );
});

describe.skipIf(!haveCompiler || process.arch !== "x64")("the server (needs cc)", () => {
  let confined = "";
  beforeAll(async () => {
    confined = join(temporaryFolder(), "confined");
    await runCompiler(["-O1", "-o", confined, "test/fixtures/confined.c"], "confined");
  });

  test.each(["prlimit64", "eventfd2", "epoll_create1"])(
    "reports a seccomp filter that denies %s",
    async (call) => {
      expect(await run([confined, call, "--", launcher, ...served])).toEqual(
        refused(`${cannotStart}a filter of system calls (seccomp)`),
      );
    },
  );

  test("serves without socketpair, but cannot start the command of --run", async () => {
    const denied = [confined, "socketpair", "--", launcher];
    expect(await run([...denied, ...served])).toEqual(
      refused("nbdkit: error: option --run: cannot start the command: Operation not permitted"),
    );
    await using server = await serve(["memory", "1M"], { program: denied });
    await using client = (await NbdClient.ready({ unix: server.socket })).client;
    expect((await client.ask({ type: 0, offset: 0n, count: 512 })).error).toBe(0);
  });

  test("reports that no memory may be both written and executed", async () => {
    const message =
      "nbdkit: error: Bun cannot call libc, as it gets no memory that may be both written and executed: " +
      "expected MemoryDenyWriteExecute=no of systemd, and 4000000 of ulimit -v and -d or more";
    expect(await run([confined, "mdwe", "--", launcher, ...served])).toEqual(refused(message));
    // Without the launcher Bun reserves more memory.
    expect(await run(after("ulimit -Sv 1048576", [...program, ...served]))).toEqual(
      refused(message),
    );
  });
});

describe.skipIf(!isRoot || !installed("unshare"))("the server (needs root, unshare)", () => {
  test("reports a missing /proc", async () => {
    const script = "mount -t tmpfs none /proc";
    expect(await run(alone(script, [launcher, ...served]))).toEqual(
      refused(`${cannotStart}no /proc`),
    );
  });

  test("reports a read-only /tmp", async () => {
    const { code, stdout, stderr } = await run(
      alone(`${elsewhere} && mount -t tmpfs -o ro none /tmp`, [moved, ...served]),
    );
    expect({ code, stdout, stderr }).toEqual(
      refused(
        "nbdkit: error: option -U -: cannot create a folder for the socket: Read-only file system: " +
          "expected a writable /tmp, or -U PATH",
      ),
    );
  });

  /** Mounts a tmpfs over each of the places that could keep the native runtime. */
  const cover = (options: string, places: readonly string[]) =>
    `${elsewhere} && mkdir -p ${root}/build /var/cache /root/.cache && for at in ${places.join(" ")}; do ` +
    `mount -t tmpfs -o ${options} none "$at" || exit 1; done`;
  const kept = [`${root}/build`, "/var/cache", "/root/.cache"];
  const everywhere = [...kept, "/var/tmp", "/tmp"];
  // A module of the distribution, since modules that tests compile are in /tmp.
  const native = ["-U", "-", "native:memory", "1M", "--run", "echo served"];
  const env = { HOME: "/root", XDG_CACHE_HOME: "", TMPDIR: "/tmp" };
  const haveModule = haveCompiler && existsSync("/usr/lib/x86_64-linux-gnu/nbdkit/plugins");

  test.skipIf(!haveModule)("loads the native runtime if every file system is noexec", async () => {
    const script = cover("noexec", everywhere);
    const { code, stdout, stderr } = await run(alone(script, [moved, ...native]), { env });
    expect({ code, stdout }).toEqual({ code: 0, stdout: "served\n" });
    expect(stderr).toMatch(/^nbdkit: compiling the native runtime .*\n$/);
  });

  test.skipIf(!haveModule)(
    "compiles the native runtime at each start if only /tmp has room",
    async () => {
      const script = cover("size=64k", kept);
      const { code, stdout, stderr } = await run(alone(script, [moved, ...native]), { env });
      expect({ code, stdout }).toEqual({ code: 0, stdout: "served\n" });
      expect(stderr).toMatch(
        /^nbdkit: warning: compiling the native runtime .*, at every start: .*\n$/,
      );
    },
  );

  test.skipIf(!haveModule)("reports that no folder has room for the native runtime", async () => {
    const script = cover("size=64k", everywhere);
    const { code, stdout, stderr } = await run(alone(script, [moved, ...native]), { env });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(
      /^nbdkit: error: C modules need a folder .* has no room; .*has 4 MB of room\n$/,
    );
  });
});

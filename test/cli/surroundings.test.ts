/** The descriptors and signals that the command of --run and programs of modules inherit. */
import { describe, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

import { moduleDirectories } from "#modules/directories";
import { haveCompiler } from "#test/modules";
import { program, run } from "#test/server";

import { Folder, servers } from "./daemon-fixture.ts";

const { plugindir } = moduleDirectories();
const haveEval = existsSync(join(plugindir, "nbdkit-eval-plugin.so")) && haveCompiler;

/** A shell that starts the server with more descriptors than the standard streams. */
const startedWith = (redirections: string, command: readonly string[]): readonly string[] => [
  "/bin/bash",
  "-c",
  `"$@" ${redirections}`,
  "bash",
  ...command,
];

/** Lists the descriptors above the standard streams, without the one that ls opens. */
const list = String.raw`ls -l /proc/self/fd | sed -n 's/.* \([0-9]*\) -> \(.*\)/\1 \2/p' | grep -v -e ' /proc/' -e '^[012] ' | sort -n`;

describe.each(servers)("the command of --run (%s)", (_, server) => {
  test("inherits the descriptors that the server was given, and no others", async () => {
    using folder = new Folder();
    writeFileSync(folder.file("a"), "");
    writeFileSync(folder.file("b"), "");
    const command = [...server, "-U", "-", "null", "--run", list];
    const redirections = `4<'${folder.file("a")}' 9<'${folder.file("b")}' 42<'${folder.file("a")}'`;
    expect(await run(startedWith(redirections, command))).toEqual({
      code: 0,
      stdout: `4 ${folder.file("a")}\n9 ${folder.file("b")}\n42 ${folder.file("a")}\n`,
      stderr: "",
    });
  });

  test("can use inherited descriptors of any digit", async () => {
    const files = [3, 4, 5, 6, 7, 8].map((fd) => `${fd}<<<'from ${fd}'`).join(" ");
    const script = 'for fd in 3 4 5 6 7 8; do eval "read line <&$fd"; echo "$line"; done';
    const command = [...server, "-U", "-", "null", "--run", script];
    expect(await run(startedWith(files, command))).toEqual({
      code: 0,
      stdout: "from 3\nfrom 4\nfrom 5\nfrom 6\nfrom 7\nfrom 8\n",
      stderr: "",
    });
  });

  test("is reported with the signal that killed it", async () => {
    const { code, stdout, stderr } = await run([
      ...server,
      ...["-U", "-", "null", "--run", "kill -KILL $$"],
    ]);
    expect({ code, stdout }).toEqual({ code: 137, stdout: "" });
    expect(stderr).toMatch(/^nbdkit: .*command.* was killed by (SIGKILL|signal 9)\n$/);
  });
});

describe.each(servers)("a script of the eval plugin (%s)", (_, server) => {
  test.skipIf(!haveEval)(
    "inherits the descriptors that the server was given, and no others (needs nbdkit, cc)",
    async () => {
      const script = `get_size=${list} >&8; echo 512`;
      const asks = 'exec 8>&- 9>&-; nbdinfo --size "$uri"';
      const command = [...server, "-U", "-", "eval", script, "--run", asks];
      expect(await run(startedWith("8>&1 9</etc/passwd", command))).toEqual({
        code: 0,
        stdout: expect.stringMatching(/^8 (pipe|socket):.*\n9 \/etc\/passwd\n512\n$/),
        stderr: "",
      });
    },
  );

  const ignored = "grep SigIgn /proc/self/status";
  const none = /^SigIgn:\t0{16}\n$/;

  test.skipIf(!haveEval)("ignores no signals (needs nbdkit, cc)", async () => {
    using folder = new Folder();
    const scripts = [
      `config=${ignored} >'${folder.file("early")}'`,
      `get_size=${ignored} >'${folder.file("late")}'; echo 512`,
    ];
    const command = [...server, "-U", "-", "eval", ...scripts, "a=b"];
    const asked = await run([...command, "--run", 'nbdinfo --size "$uri"']);
    expect(asked).toEqual({ code: 0, stdout: "512\n", stderr: "" });
    expect(await Bun.file(folder.file("early")).text()).toMatch(none);
    expect(await Bun.file(folder.file("late")).text()).toMatch(none);
  });
});

test("the command of --run ignores no signals", async () => {
  const script = "grep SigIgn /proc/self/status";
  expect(await run([...program, "-U", "-", "null", "--run", script])).toEqual({
    code: 0,
    stdout: `SigIgn:\t${"0".repeat(16)}\n`,
    stderr: "",
  });
});

test.skipIf(!haveEval)(
  "the native runtime is compiled even without PATH (needs nbdkit, cc)",
  async () => {
    using folder = new Folder();
    // A compiler that has compiled no other runtime yet.
    const compiler = `cc -DPLACE=${basename(folder.path)}`;
    const environment = ["env", "-i", `XDG_CACHE_HOME=${folder.path}`, `CC=${compiler}`];
    const command = [...environment, ...program, "-U", "-", "native:null", "--run", "echo served"];
    expect(await run(command)).toEqual({
      code: 0,
      stdout: "served\n",
      stderr: `nbdkit: compiling the native runtime with ${compiler}, which takes some seconds: it is kept in ${folder.path}/nbdkit-bun\n`,
    });
  },
  60_000,
);

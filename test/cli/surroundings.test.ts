/**
 * What the command of --run and programs that modules start get from the server, and from the
 * process that started it.
 */
import { describe, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

import { moduleDirectories } from "#modules/directories";
import { haveCompiler } from "#test/modules";
import { installed, program, run } from "#test/server";

import { Folder } from "./daemon-fixture.ts";

const { plugindir } = moduleDirectories();
const haveEval = existsSync(join(plugindir, "nbdkit-eval-plugin.so")) && haveCompiler;
const servers: readonly (readonly [string, readonly string[]])[] = [
  ["ours", program],
  ...(installed("nbdkit") ? [["nbdkit", ["nbdkit"]] as const] : []),
];

/** A shell that starts the server, its arguments being $1 and so on, with more than the standard streams. */
const startedWith = (redirections: string, command: readonly string[]): readonly string[] => [
  "/bin/bash",
  "-c",
  `"$@" ${redirections}`,
  "bash",
  ...command,
];

/** The descriptors above the standard streams, without the one of ls itself. */
const list = String.raw`ls -l /proc/self/fd | sed -n 's/.* \([0-9]*\) -> \(.*\)/\1 \2/p' | grep -v -e ' /proc/' -e '^[012] ' | sort -n`;

describe.each(servers)("descriptors (%s)", (_, server) => {
  test("that the server was given are there in the command of --run, and no others", async () => {
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

  test("of all digits can be used by the command of --run", async () => {
    const files = [3, 4, 5, 6, 7, 8].map((fd) => `${fd}<<<'from ${fd}'`).join(" ");
    const script = 'for fd in 3 4 5 6 7 8; do eval "read line <&$fd"; echo "$line"; done';
    const command = [...server, "-U", "-", "null", "--run", script];
    expect(await run(startedWith(files, command))).toEqual({
      code: 0,
      stdout: "from 3\nfrom 4\nfrom 5\nfrom 6\nfrom 7\nfrom 8\n",
      stderr: "",
    });
  });

  test.skipIf(!haveEval)(
    "that the server was given are there in scripts, and no others (needs nbdkit, cc)",
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
});

describe.each(servers)("signals (%s)", (_, server) => {
  const ignored = "grep SigIgn /proc/self/status";
  const none = /^SigIgn:\t0{16}\n$/;

  test.skipIf(!haveEval)("are not ignored in scripts (needs nbdkit, cc)", async () => {
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

  test("that kill the command of --run are reported", async () => {
    const { code, stdout, stderr } = await run([
      ...server,
      "-U",
      "-",
      "null",
      "--run",
      "kill -KILL $$",
    ]);
    expect({ code, stdout }).toEqual({ code: 137, stdout: "" });
    expect(stderr).toMatch(/^nbdkit: .*command.* was killed by (SIGKILL|signal 9)\n$/);
  });
});

test("no signal is ignored in the command of --run", async () => {
  const script = "grep SigIgn /proc/self/status";
  expect(await run([...program, "-U", "-", "null", "--run", script])).toEqual({
    code: 0,
    stdout: `SigIgn:\t${"0".repeat(16)}\n`,
    stderr: "",
  });
});

test.skipIf(!haveEval)(
  "without PATH the native runtime is compiled all the same (needs nbdkit, cc)",
  async () => {
    using folder = new Folder();
    // Another compiler than that of any runtime that is kept elsewhere.
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

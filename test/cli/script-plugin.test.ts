/** Plugins that are programs. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { moduleDirectories } from "#modules/directories";
import { compileModule, haveCompiler } from "#test/modules";
import { program, run } from "#test/server";

import { interpretedBy } from "../../src/cli/script-plugin.ts";

const haveShell =
  haveCompiler && existsSync(join(moduleDirectories().plugindir, "nbdkit-sh-plugin.so"));

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-script-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function install(name: string, content: string, mode = 0o755): string {
  const path = join(folder, `nbdkit-${name}-plugin`);
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

const nbdkit = (...args: string[]) =>
  run([...program, ...args], { env: { NBDKIT_PLUGINDIR: folder, SEEN: "yes" } });

describe("a plugin that is a program", () => {
  test("replaces the server: it keeps its process, streams, environment and exit status", async () => {
    const script = 'echo "$0"; printf "<%s>" "$@"; echo " $$ $SEEN"; echo problem >&2; exit 7';
    const path = install("prog", `#!/bin/sh\n${script}\n`);
    const child = Bun.spawn([...program, "-v", "prog", "a=1", "b c", "-U", "-"], {
      env: { ...process.env, NBDKIT_PLUGINDIR: folder, SEEN: "yes" },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const [stdout, stderr, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    expect({ stdout, stderr, code }).toEqual({
      code: 7,
      stdout: `${path}\n<--verbose><--unix=-><a=1><b c> ${child.pid} yes\n`,
      stderr: `nbdkit: debug: running the plugin ${path}\nproblem\n`,
    });
  });

  test("can be killed by signals, including SIGPIPE", async () => {
    install("signal", "#!/bin/sh\nkill -PIPE $$\nexit 3\n");
    expect((await nbdkit("signal")).code).toBe(128 + 13);
    install("term", "#!/bin/sh\nkill -TERM $$\nexit 3\n");
    expect((await nbdkit("term")).code).toBe(128 + 15);
  });

  test("is named if it cannot be run", async () => {
    const path = install("broken", "#!/no/such/interpreter\n");
    expect(await nbdkit("broken")).toEqual({
      code: 1,
      stdout: "",
      stderr: `nbdkit: error: ${path}: cannot run this program: No such file or directory\n`,
    });
  });

  test("must be executable, and is found only by its bare name", async () => {
    const path = install("plain", "#!/bin/sh\necho no\n", 0o644);
    expect((await nbdkit("plain")).stderr).toContain('there is no plugin named "plain"');
    chmodSync(path, 0o755);
    expect((await nbdkit(path)).stderr).toContain("this is neither a shared object");
    expect(await nbdkit("plain")).toMatchObject({ code: 0, stdout: "no\n" });
    expect(await nbdkit("native:plain")).toMatchObject({ code: 0, stdout: "no\n" });
  });

  test("does not replace a bundled plugin of the same name", async () => {
    install("null", "#!/bin/sh\necho theirs\n");
    expect((await nbdkit("null", "--version")).stdout).toContain("\nnull");
    expect((await nbdkit("native:null", "--version")).stdout).toBe("theirs\n");
  });
});

describe("a script for nbdkit", () => {
  test.each([
    ["#!/usr/sbin/nbdkit perl", "perl"],
    ["#! /usr/bin/nbdkit\tsh ", "sh"],
    ["#!/usr/bin/env -S nbdkit python", "python"],
    ["#!/usr/bin/env nbdkit", undefined],
    ["#!/usr/bin/nbdkit", undefined],
    ["#!/usr/bin/perl nbdkit", undefined],
    ["#!/usr/bin/notnbdkit sh", undefined],
    ["nbdkit sh", undefined],
    ["", undefined],
  ])("%p is run by %p", (line, plugin) => {
    expect(interpretedBy(line)).toBe(plugin);
  });

  test.skipIf(!haveCompiler)("is run by this server (needs cc)", async () => {
    const plugin = await compileModule("test/fixtures/script-language.c");
    const path = install("lang", `#!/usr/sbin/nbdkit ${plugin}\nanything\n`);
    const { code, stdout, stderr } = await nbdkit("lang", "size=1M", "--dump-plugin");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toStartWith(`path=${plugin}\n`);
    expect(stdout).toEndWith(`script=${path}\nsize=1M\n`);
  });

  test("names a missing plugin", async () => {
    install("perly", "#!/usr/sbin/nbdkit perl\n");
    const { code, stderr } = await nbdkit("perly");
    expect(code).toBe(1);
    expect(stderr).toStartWith('nbdkit: error: there is no plugin named "perl": looked for ');
  });

  test("must not name itself", async () => {
    install("self", "#!/usr/sbin/nbdkit self\n");
    const { code, stderr } = await nbdkit("self");
    expect(code).toBe(1);
    expect(stderr).toStartWith('nbdkit: error: there is no plugin named "self": looked for ');
  });
});

describe.skipIf(!haveShell)("a script for the sh plugin (needs nbdkit, cc)", () => {
  const body = 'case "$1" in get_size) echo 512 ;; pread) exit 1 ;; *) exit 2 ;; esac';
  const script = (first: string): string => {
    const path = join(folder, "disk.sh");
    writeFileSync(path, `${first}\n${body}\n`);
    chmodSync(path, 0o755);
    return path;
  };
  const served = (path: string) =>
    run([...program, "-U", "-", "sh", path, "--run", 'nbdinfo --size "$uri"']);

  test.each(["#!/usr/sbin/nbdkit sh", "#!/usr/bin/env -S nbdkit -r sh", "#! /usr/bin/nbdkit sh "])(
    "is refused if it begins with %s, since it would start itself forever",
    async (first) => {
      const path = script(first);
      const { code, stdout, stderr } = await served(path);
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toStartWith(
        `nbdkit: error: ${path}: the plugin sh runs this script for each call`,
      );
    },
  );

  test.each(["#!/bin/sh", "#!/bin/sh -e", "# nbdkit sh"])("may begin with %s", async (first) => {
    expect(await served(script(first))).toEqual({ code: 0, stdout: "512\n", stderr: "" });
  });
});

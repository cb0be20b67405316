/** --dump-plugin, --version and --help print the same about nbdkit's modules as nbdkit does. */
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { layouts } from "#abi/generated/layouts.gen";
import { moduleDirectories } from "#modules/directories";
import { compileModule, haveCompiler } from "#test/modules";
import { installed, program, type Ran, run } from "#test/server";

const { filterdir, plugindir } = moduleDirectories();
const namesIn = (folder: string, kind: string): string[] =>
  (existsSync(folder) ? readdirSync(folder) : []).flatMap((file) => {
    const name = new RegExp(`^nbdkit-(.*)-${kind}\\.so$`).exec(file)?.[1];
    return name === undefined ? [] : [name];
  });
const haveNbdkit = installed("nbdkit");
const plugins = haveNbdkit ? namesIn(plugindir, "plugin") : [];
const filters = haveNbdkit ? namesIn(filterdir, "filter") : [];

/** Lines that differ, and why. */
const differences: readonly {
  readonly plugin: string;
  readonly line: RegExp;
  readonly why: string;
}[] = [];

const kept = (plugin: string, text: string): string[] =>
  text
    .split("\n")
    .filter((line) => !differences.some((it) => it.plugin === plugin && it.line.test(line)));

describe.skipIf(plugins.length === 0)("an installed plugin prints the same as in nbdkit", () => {
  test.each(plugins)("for --dump-plugin %s (needs nbdkit)", async (name) => {
    const theirs = await run(["nbdkit", "--dump-plugin", name]);
    const ours = await run([...program, "--dump-plugin", `native:${name}`]);
    expect(ours.code).toBe(theirs.code);
    expect(kept(name, ours.stdout)).toEqual(kept(name, theirs.stdout));
  });

  test.each(plugins)("for --version and --help of %s (needs nbdkit)", async (name) => {
    const theirs = await run(["nbdkit", "--version", name]);
    const ours = await run([...program, "--version", `native:${name}`]);
    expect(ours.stdout.split("\n").slice(1)).toEqual(theirs.stdout.split("\n").slice(1));
    const helps = [
      ["nbdkit", name],
      [...program, `native:${name}`],
    ].map((command) => run([...command, "--help"]));
    const [theirHelp, ourHelp] = (await Promise.all(helps)).map(paragraphs);
    expect(ourHelp).toEqual(theirHelp);
  });
});

/** The paragraphs of layers, which follow nbdkit's usage and precede ours, without blank lines. */
function paragraphs({ code, stdout, stderr }: Ran): Ran {
  const at = stdout.search(/^(filter|plugin): /m);
  const [layers = ""] = stdout.slice(at).split(/^Usage: nbdkit /m);
  return { code, stderr, stdout: layers.replaceAll(/\n+/g, "\n") };
}

describe.skipIf(filters.length === 0)("filters (needs nbdkit)", () => {
  test.each(filters)("print the same as in nbdkit for --version and --help: %s", async (name) => {
    const theirs = await run(["nbdkit", `--filter=${name}`, "null", "--version"]);
    const args = [`--filter=native:${name}`, "native:null"];
    const ours = await run([...program, ...args, "--version"]);
    expect(ours.stdout.split("\n").slice(1)).toEqual(theirs.stdout.split("\n").slice(1));
    const theirHelp = await run(["nbdkit", `--filter=${name}`, "null", "--help"]);
    const ourHelp = await run([...program, ...args, "--help"]);
    expect(paragraphs(ourHelp)).toEqual(paragraphs(theirHelp));
  });

  test("follow the plugin in --dump-plugin, the innermost first, as in nbdkit 1.36", async () => {
    const args = ["--filter=offset", "--filter=delay", "null", "--dump-plugin"];
    const { code, stdout } = await run([...program, ...args]);
    const ours = (name: string) => join(import.meta.dir, "..", "..", "filters", name, `${name}.ts`);
    expect(code).toBe(0);
    expect(stdout).toEndWith(
      `\ndelay_path=${ours("delay")}\ndelay_name=delay\noffset_path=${ours("offset")}\noffset_name=offset\n`,
    );
  });

  test("lower the thread model that --dump-plugin prints", async () => {
    const args = ["--filter=noparallel", "--dump-plugin", "memory"];
    const { stdout } = await run(["nbdkit", ...args]);
    expect(stdout).toContain("max_thread_model=parallel\nthread_model=serialize_requests\n");
    const native = args.map((arg) => arg.replace("noparallel", "native:noparallel"));
    native[2] = "native:memory";
    const ours = await run([...program, ...native]);
    expect(ours.stdout).toStartWith(stdout);
  });
});

describe.skipIf(!haveCompiler)("a plugin of API 1 (needs cc)", () => {
  test("lists the callbacks of API 1 last in --dump-plugin", async () => {
    const path = await compileModule("examples/ramdisk-v1/ramdisk-v1.c");
    const { code, stdout } = await run([...program, "--dump-plugin", path]);
    expect(code).toBe(0);
    expect(stdout).toStartWith(
      `path=${path}\nname=ramdisk1\nversion=1.0\napi_version=1\nstruct_size=${layouts.plugin.size}\n` +
        "max_thread_model=serialize_all_requests\nthread_model=serialize_all_requests\nerrno_is_preserved=",
    );
    expect(stdout.split("\n").slice(-6, -1)).toEqual([
      "has__pread_v1=1",
      "has__pwrite_v1=1",
      "has__flush_v1=1",
      "has__trim_v1=1",
      "has__zero_v1=1",
    ]);
  });
});

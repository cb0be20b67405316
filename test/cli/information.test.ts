/** What the server prints and refuses without serving: stdout, stderr and the exit status. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";

import { layouts } from "#abi/generated/layouts.gen";
import { program, run } from "#test/server";
import { shellCommand } from "#test/shell";

import { usage } from "../../src/cli/arguments.ts";
import { dumpConfig, versionLine as versionOf } from "../../src/cli/information.ts";
import { longOptions, shortOptions } from "../../src/cli/options.ts";
import { version } from "../../src/cli/version.ts";

const root = join(import.meta.dir, "..", "..");
const versionLine = versionOf();
const fixture = join(import.meta.dir, "life-fixture.ts");
const bare = join(import.meta.dir, "bare-fixture.ts");
const offset = join(root, "filters", "offset", "offset.ts");

const nbdkit = (...args: string[]) => run([...program, ...args]);

describe("without a plugin the server", () => {
  test.each([
    [["--help"], usage()],
    [["--version"], versionLine],
    [["-V"], versionLine],
    [["--long-options"], longOptions()],
    [["--short-options"], shortOptions()],
  ])("prints the text of %j", async (args, stdout) => {
    expect(await nbdkit(...args)).toEqual({ code: 0, stdout, stderr: "" });
  });

  test("prints sorted lines of keys and values for --dump-config", async () => {
    const env = { NBDKIT_FILTERDIR: "/some/filters", NBDKIT_PLUGINDIR: "/some/plugins" };
    const { code, stdout, stderr } = await run([...program, "--dump-config"], { env });
    const lines = stdout.trimEnd().split("\n");
    const values = Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2)));
    expect({ code, stderr, lines }).toEqual({ code: 0, stderr: "", lines: lines.toSorted() });
    expect(values).toMatchObject({
      binary: join(root, "bin", "nbdkit"),
      filterdir: "/some/filters",
      name: "nbdkit",
      plugindir: "/some/plugins",
      exit_with_parent: "yes",
      tls: "yes",
      vsock_option: "yes",
      version,
      version_major: version.split(".")[0],
      version_minor: version.split(".")[1],
    });
  });
});

test("--dump-config prints every key of the installed nbdkit, and those of later releases", async () => {
  const keys = dumpConfig()
    .trimEnd()
    .split("\n")
    .map((line) => line.split("=")[0] ?? "");
  const later = [
    "max_api_version",
    "run_default_socket",
    "soext",
    "timeout_option",
    "vsock_option",
  ];
  expect(keys).toEqual(expect.arrayContaining(later));
  if (Bun.which("nbdkit") === null) return;
  const { stdout } = await run(["nbdkit", "--dump-config"]);
  const theirs = stdout
    .trimEnd()
    .split("\n")
    .map((line) => line.split("=")[0] ?? "");
  expect(theirs.filter((key) => !keys.includes(key))).toEqual([]);
});

test("--version starts like nbdkit's, for scripts that parse it", () => {
  expect(version).toMatch(/^1\.\d+\.\d+$/);
  expect(versionLine).toStartWith(`nbdkit ${version} (`);
  expect(versionLine).toMatch(/ \(nbdkit for Bun \d+\.\d+\.\d+, Bun [\d.]+\)\n$/);
});

describe("with a plugin", () => {
  test("--version adds a line per layer, from the top", async () => {
    expect(await nbdkit("--version", "--filter=offset", fixture)).toEqual({
      code: 0,
      stdout: `${versionLine}offset ${version}\nlife 7.8.9\n`,
      stderr: "life: load\nlife: unload\n",
    });
  });

  test("--help begins with a paragraph per layer, from the top", async () => {
    const { code, stdout, stderr } = await nbdkit(fixture, "--filter=offset", "--help");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "life: load\nlife: unload\n" });
    expect(stdout).toBe(
      `filter: offset (nbdkit offset filter)\n(${offset})\n` +
        "offset=SIZE              The start offset to serve (default 0)\n" +
        "range=SIZE               The total size to serve (default the rest of the disk)\n\n" +
        `plugin: life (plugin for tests)\n(${fixture})\nPrints its callbacks.\n` +
        "fail=TEXT                Where to fail.\n[size=]SIZE              The size (default 1M)\n\n" +
        usage(),
    );
  });

  test("--help prints two lines for a layer without a description", async () => {
    expect(await nbdkit(bare, "--help")).toEqual({
      code: 0,
      stdout: `plugin: bare\n(${bare})\n\n${usage()}`,
      stderr: "",
    });
  });

  test("--version ignores parameters", async () => {
    expect(await nbdkit(bare, "a=1", "no key", "--version")).toEqual({
      code: 0,
      stdout: `${versionLine}bare\n`,
      stderr: "",
    });
  });

  test("--dump-plugin prints the fields in order, then the plugin's own lines", async () => {
    const { code, stdout, stderr } = await nbdkit("--dump-plugin", fixture, "size=1M");
    const keys = stdout
      .trimEnd()
      .split("\n")
      .map((line) => line.split("=")[0] ?? "");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "life: load\nlife: unload\n" });
    expect(stdout).toStartWith(
      `path=${fixture}\nname=life\nversion=7.8.9\napi_version=2\nstruct_size=${layouts.plugin.size}\n` +
        "max_thread_model=parallel\nthread_model=parallel\nerrno_is_preserved=1\n" +
        "magic_config_key=size\nhas_longname=1\nhas_description=1\nhas_load=1\nhas_unload=1\n" +
        "has_dump_plugin=1\nhas_config=1\nhas_config_complete=1\nhas_config_help=1\nhas_get_ready=1\n",
    );
    expect(stdout).toEndWith("\nlife_size=1048576\n");
    expect(keys).toContain("has_pread");
  });

  test("--dump-plugin prints no magic_config_key for a plugin without parameters", async () => {
    const { code, stdout, stderr } = await nbdkit("--dump-plugin", bare);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toBe(
      `path=${bare}\nname=bare\napi_version=2\nstruct_size=${layouts.plugin.size}\nmax_thread_model=parallel\n` +
        "thread_model=parallel\nerrno_is_preserved=1\nhas_open=1\nhas_get_size=1\nhas_pread=1\n",
    );
  });

  test.each(["file", "memory", "null"])(
    "--dump-plugin %s begins with the lines of nbdkit",
    async (name) => {
      const { stdout } = await nbdkit("--dump-plugin", name);
      const keys = ["path", "name", "version", "api_version", "struct_size", "max_thread_model"];
      const lines = stdout.split("\n").map((line) => line.split("=")[0]);
      expect(lines.slice(0, 6)).toEqual(keys);
      expect(stdout).toContain(`\nversion=${version}\n`);
    },
  );

  test("--dump-plugin refuses wrong parameters", async () => {
    expect(await nbdkit(fixture, "--dump-plugin", "size=x")).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(
        /^life: load\nnbdkit: error: life: size=x: expected a size.*\n$/,
      ),
    });
  });
});

describe("the server", () => {
  const failing = (...args: string[]) => nbdkit("-U", "-", ...args);
  const oneLine = (message: string) => `nbdkit: error: ${message}\n`;

  test.each([
    [["--foo", "null"], "unknown option '--foo'"],
    [["--verbos-e", "null"], "unknown option '--verbos-e': did you mean --verbose?"],
    [["null", "-x"], "unknown option '-x'"],
    [["null", "--foreground=1"], "option '--foreground' takes no value"],
    [["null", "--foreg="], "option '--foreg' takes no value"],
    [["null", "--port"], "option '-p, --port <PORT>' argument missing"],
    [["--dump", "null"], "option '--dump' is ambiguous: it may mean --dump-config, --dump-plugin"],
  ])("refuses %j in one line that refers to --help", async (args, message) => {
    const stderr = oneLine(`${message} (try nbdkit --help)`);
    expect(await nbdkit(...args)).toEqual({ code: 1, stdout: "", stderr });
  });

  test.each([
    [[], "no plugin was given on the command line: see `nbdkit --help` or the manual nbdkit(1)"],
    [
      ["--dump-plugin"],
      "no plugin was given on the command line: nbdkit PLUGIN --dump-plugin describes a plugin, and nbdkit --dump-config the server",
    ],
    [
      ["-p", "x", "null"],
      'option -p/--port: "x": expected a port number from 0 to 65535, or the name of a TCP service',
    ],
    [
      ["-o", "--tls=require", "null", "--help"],
      "options -o/--oldstyle and --tls=require cannot be used together: the oldstyle protocol has no TLS",
    ],
    [
      ["null", "-s", "--dump-plugin"],
      "options --dump-plugin and -s/--single cannot be used together: nothing is served",
    ],
  ])("refuses %j in one line", async (args, message) => {
    expect(await nbdkit(...args)).toEqual({ code: 1, stdout: "", stderr: oneLine(message) });
  });

  test.each(["/nowhere/plugin.ts", "no-such-plugin"])(
    "names the missing plugin %s",
    async (name) => {
      const result = await failing(name);
      expect(result).toMatchObject({ code: 1, stdout: "" });
      expect(result.stderr).toMatch(/^nbdkit: error: .*no.*plugin.*\n$/);
      expect(result.stderr).toContain(name);
    },
  );

  test("names a missing filter, even with --help", async () => {
    const result = await nbdkit("--help", "--filter=no-such-filter", "null");
    expect(result).toMatchObject({ code: 1, stdout: "" });
    expect(result.stderr).toContain("no-such-filter");
  });

  test("refuses a bare word for a plugin without a main parameter", async () => {
    expect(await failing(bare, "a=1", "word")).toEqual({
      code: 1,
      stdout: "",
      stderr: oneLine("expecting key=value on the command line but got: word"),
    });
  });

  test.each(["config", "configComplete", "getReady"])(
    "exits with the error of a layer whose %s fails",
    async (where) => {
      const { code, stdout, stderr } = await failing(fixture, `fail=${where}`);
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toEndWith(oneLine(`life: ${where} failed as asked`));
    },
  );

  test("prints the stack of an unexpected exception", async () => {
    const { code, stdout, stderr } = await failing(fixture, "fail=bug");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(
      /nbdkit: error: life: configComplete threw an unexpected exception: TypeError: a bug as asked\n +at .*life-fixture\.ts/,
    );
  });

  test("exits normally if the reader of its output closes the pipe early", async () => {
    expect(await run(["/bin/sh", "-c", `${shellCommand(program)} --help | head -n 1`])).toEqual({
      code: 0,
      stdout: `${usage().split("\n")[0]}\n`,
      stderr: "",
    });
  });
});

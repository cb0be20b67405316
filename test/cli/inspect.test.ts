/** --inspect describes a C module, even a broken one. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { layouts } from "#abi/generated/layouts.gen";
import type { Inspection } from "#abi/recognise/inspect";
import { moduleDirectories } from "#modules/directories";
import { compileModule, type CompileOptions, haveCompiler } from "#test/modules";
import { program, run } from "#test/server";

import { usage } from "../../src/cli/arguments.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-inspect-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const inspect = (...args: string[]) => run([...program, "--inspect", ...args]);

/** The inspection of a file. The exit status must agree with it. */
async function inspected(file: string, ...args: string[]): Promise<Inspection> {
  const { code, stdout, stderr } = await inspect("--json", file, ...args);
  const result = JSON.parse(stdout) as Inspection;
  expect({ code, stderr }).toEqual({ code: result.runnable ? 0 : 1, stderr: "" });
  return result;
}

const stock = (["filter", "plugin"] as const).flatMap((kind) => {
  const { filterdir, plugindir } = moduleDirectories();
  const directory = kind === "filter" ? filterdir : plugindir;
  const files = existsSync(directory) ? readdirSync(directory) : [];
  return files.flatMap((file) => {
    const name = /^nbdkit-(.*)-(?:filter|plugin)\.so$/.exec(file)?.[1];
    return name === undefined ? [] : [{ kind, name, path: join(directory, file) }];
  });
});

/** The only reasons why a stock module may not run: it lacks a symbol or a library. */
const absent = /^undefined symbol: |cannot open shared object file/;

describe.skipIf(stock.length === 0)("--inspect (needs nbdkit)", () => {
  test.each(stock)("describes the stock $kind $name", async ({ kind, name, path }) => {
    const found = await inspected(path);
    expect(found).toMatchObject({
      path,
      kind,
      machine: process.arch === "x64" ? "x86_64" : "aarch64",
    });
    const own = name === "error" ? "error-inject" : name;
    if (found.runnable) expect(found).toMatchObject({ name: own, version: expect.any(String) });
    else expect(found.reason).toMatch(absent);
    if (found.layout !== undefined) expect(found.api_version).toBe(6);
  });

  test("finds an installed module by name", async () => {
    const { kind, name, path } = stock[0] ?? { kind: "filter", name: "", path: "" };
    expect(await inspected(name)).toMatchObject({ kind, path });
  });
});

describe.skipIf(!haveCompiler)("--inspect (needs cc)", () => {
  test("describes a filter of nbdkit 1.2", async () => {
    const path = await compileModule("test/fixtures/debug-flags.c", { defines: { FILTER: true } });
    expect(await inspect(path)).toEqual({
      code: 0,
      // load would print on stderr, but is not called.
      stderr: "",
      stdout: [
        `file: ${path}`,
        "kind: filter",
        "name: flagfilter",
        "layout: 1.2",
        "releases: nbdkit 1.1.27 to 1.2",
        "API version: 1",
        "struct size: 200",
        "thread model: parallel",
        "callbacks: load",
        "imports: none",
        "debug flags: flagfilter.one flagfilter.two_words",
        "libraries: libc.so.6",
        "machine: x86_64",
        "can be run: yes\n",
      ].join("\n"),
    });
  });

  test("describes a plugin of API 1, with its texts", async () => {
    const path = await compileModule("examples/ramdisk-v1/ramdisk-v1.c");
    const found = await inspected(path);
    expect(found).toMatchObject({
      kind: "plugin",
      name: "ramdisk1",
      api_version: 1,
      struct_size: layouts.plugin.size,
      runnable: true,
    });
    expect(found.callbacks).toContain("_pread_v1");
    expect(found.config_help).toBeString();
    expect((await inspect(path)).stdout).toContain("\nparameters:");
  });

  test.each([
    [1, undefined, { layout: "1.2", thread_model: "serialize_connections" }],
    [1, "original", { layout: "original", releases: "none, it came before nbdkit 1.2" }],
    [2, undefined, { layout: "1.2", thread_model: "serialize_connections" }],
    [2, "1.2.4", { layout: "1.2", thread_model: "serialize_connections" }],
  ] as const)(
    "takes the layout of an unmarked filter from --filter-release: %p, %p",
    async (FOREIGN, id, expected) => {
      const path = await compileModule("test/fixtures/foreign.c", { defines: { FOREIGN } });
      const args = id === undefined ? [] : [`--filter-release=${path}=${id}`];
      expect(await inspected(path, ...args)).toMatchObject(expected);
    },
  );

  test("names the functions that a module needs and the server lacks", async () => {
    const path = await compileModule("test/fixtures/missing-symbol.c");
    const found = await inspected(path);
    expect(found).toMatchObject({ kind: "filter", missing: ["nbdkit_does_not_exist"] });
    expect(found.imports).toContain("nbdkit_does_not_exist");
    expect(found.reason).toStartWith("undefined symbol: nbdkit_does_not_exist");
  });

  test.each<readonly [CompileOptions["defines"], object]>([
    [
      { NO_INIT: true },
      { reason: "not an nbdkit module: it has neither filter_init nor plugin_init" },
    ],
    [{ INIT_NULL: true }, { kind: "filter", reason: "filter registration function failed" }],
    [
      { PLUGIN: true, WITHOUT: "pread" },
      { name: "bad", reason: "plugin must have a .pread callback" },
    ],
    [
      { PLUGIN: true, API: 3 },
      { kind: "plugin", reason: expect.stringContaining("need 1 or 2") },
    ],
    [{ MODEL: 9 }, { thread_model: "9", reason: "filter has thread model 9: expected 0 to 3" }],
    [{ NAME: '"a b"' }, { name: "a b", reason: expect.stringContaining("alphanumeric") }],
  ])("gives the reason why a module cannot run: %j", async (defines, expected) => {
    const path = await compileModule("test/fixtures/bad.c", { defines: defines ?? {} });
    expect(await inspected(path)).toMatchObject({ runnable: false, ...expected });
  });

  test.each([
    ["a file for another machine", 18, 183, "it is for aarch64 (64 bits), and this is x86_64"],
    ["a file of 32 bits", 4, 1, "it is for x86_64 (32 bits), and this is x86_64"],
    ["a file that is not a shared object", 16, 2, "not a shared object"],
  ])("refuses %s", async (_, at, byte, reason) => {
    const bytes = Uint8Array.from(readFileSync(await compileModule("test/fixtures/bad.c")));
    bytes[at] = byte;
    const path = join(folder, "other.so");
    writeFileSync(path, bytes);
    expect(await inspected(path)).toMatchObject({ runnable: false, reason });
  });

  test("refuses a file that ends too early", async () => {
    const bytes = readFileSync(await compileModule("test/fixtures/bad.c"));
    const path = join(folder, "short.so");
    writeFileSync(path, bytes.subarray(0, 5000));
    expect(await inspected(path)).toMatchObject({
      reason: "it is a damaged ELF file: a segment ends behind the file",
    });
  });
});

test.each(["", "hello", "\x7fELF"])("--inspect refuses a file of %j", async (content) => {
  const path = join(folder, "text.so");
  writeFileSync(path, content);
  const { reason } = await inspected(path);
  expect(reason).toMatch(/^(not an|it is a damaged) ELF file/);
});

describe("--inspect", () => {
  const expected = "option --inspect: expected one file, or the name of an installed module";
  test.each([
    [["--inspect"], expected],
    [["--inspect", "a.so", "b.so"], expected],
    [["--inspect", "--filter=offset", "null"], expected],
    [["--json", "null"], "option --json: expected together with --inspect"],
    [["--inspect", "./gone.so"], "./gone.so: there is no such module file"],
    [["--inspect", "nosuch"], 'there is no module named "nosuch": looked for /'],
    [["--inspect", "--filter-release=y=1.2", "x"], 'option --filter-release: "y": expected'],
  ])("refuses %j", async (args, words) => {
    const { code, stdout, stderr } = await run([...program, ...args]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toStartWith(`nbdkit: error: ${words}`);
  });

  test("has its exit status explained in --help", () => {
    expect(usage().replaceAll(/\s+/g, " ")).toContain("the status is 0 if so, else 1");
  });
});

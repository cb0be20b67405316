/** Files that are not modules, and invalid modules: the server names each one, refuses it and exits with 1. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { compileModule, type CompileOptions, haveCompiler } from "#test/modules";
import { bareProgram, program, run } from "#test/server";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-refusals-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Starts the server with `args`. Paths in its messages are cut to the name of the file. */
async function start(args: readonly string[], command = program) {
  // --run ends a server that starts by mistake.
  const { code, stdout, stderr } = await run([...command, "-U", "-", "--run", "true", ...args]);
  return { code, stdout, stderr: stderr.replaceAll(/(?<=^|[ (])\/\S*\/(?=[^/\s]+)/gm, "") };
}

const refused = (stderr: string) => ({ code: 1, stdout: "", stderr: `nbdkit: error: ${stderr}\n` });

const bad = (defines: CompileOptions["defines"]) =>
  compileModule("test/fixtures/bad.c", { defines: defines ?? {} });

describe("the server refuses", () => {
  test.each([
    { file: "text.so", content: "hello" },
    { file: "empty.so", content: "" },
  ])("$file", async ({ file, content }) => {
    writeFileSync(join(folder, file), content);
    expect(await start([`--filter=${join(folder, file)}`, "null"])).toEqual(
      refused(
        `${file}: this is neither a shared object (ELF file) nor a script (.ts or .js): it cannot be used as a filter`,
      ),
    );
  });

  test("a truncated ELF file", async () => {
    const file = join(folder, "damaged.so");
    writeFileSync(file, "\x7fELF and nothing more");
    const { code, stdout, stderr } = await start([`--filter=${file}`, "null"]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^nbdkit: error: damaged\.so: .*(too short|invalid ELF)/);
  });

  test.each(["so", "ts"])("an unreadable .%s file", async (ending) => {
    const file = join(folder, `secret.${ending}`);
    writeFileSync(file, "secret", { mode: 0 });
    expect(await start([`--filter=${file}`, "null"], bareProgram)).toEqual(
      refused(`secret.${ending}: the module cannot be read: Permission denied`),
    );
  });

  test("a missing file", async () => {
    expect(await start(["--filter=./gone.so", "null"])).toEqual(
      refused("./gone.so: there is no such filter file"),
    );
  });

  test("a folder", async () => {
    expect((await start([`--filter=${folder}/.`, "null"])).code).toBe(1);
  });

  test.each(["filter", "plugin"])(
    "an unknown %s, and lists the paths that it tried",
    async (kind) => {
      const args = kind === "filter" ? ["--filter=nosuch", "null"] : ["nosuch"];
      const { code, stdout, stderr } = await run([...program, "-U", "-", "--run", "true", ...args]);
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toMatch(
        new RegExp(
          `^nbdkit: error: there is no ${kind} named "nosuch": looked for /.*/${kind}s/nosuch/nosuch.ts and /.*/nbdkit-nosuch-${kind}.so\n$`,
        ),
      );
    },
  );

  test.each([
    {
      file: "nothing.ts",
      content: "export const x = 1;\n",
      words: "the module has no default export",
    },
    { file: "syntax.ts", content: "export default {{{\n", words: "the module cannot be loaded" },
    { file: "throws.ts", content: 'throw new Error("no luck");\n', words: "no luck" },
    {
      file: "nameless.ts",
      content: "export default {};\n",
      words: "filter.name (undefined) must be",
    },
    {
      file: "other.ts",
      content: 'export default { kind: "plugin", name: "x" };\n',
      words: "this is a plugin, but it was given as a filter",
    },
  ])("the script $file", async ({ file, content, words }) => {
    writeFileSync(join(folder, file), content);
    const { code, stdout, stderr } = await start([`--filter=${join(folder, file)}`, "null"]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toStartWith("nbdkit: error: ");
    expect(stderr).toContain(file);
    expect(stderr).toContain(words);
  });
});

describe.skipIf(!haveCompiler)("the server refuses (needs cc)", () => {
  const asFilter = async (path: Promise<string>) => await start([`--filter=${await path}`, "null"]);
  const asPlugin = async (path: Promise<string>) => await start([await path]);

  test.each([
    { defines: { NO_INIT: true }, says: "bad.so: this is no nbdkit filter: it has no filter_init" },
    { defines: { INIT_NULL: true }, says: "bad.so: filter registration function failed" },
    {
      defines: { API: 7 },
      says: "bad.so: filter is incompatible with this version of nbdkit (_api_version = 7, need 1)",
    },
    {
      defines: { API: 0 },
      says: "bad.so: filter is incompatible with this version of nbdkit (_api_version = 0, need 1)",
    },
    {
      defines: { SIZE: 8 },
      says: "bad.so: filter has _struct_size 8, too small to hold its name: expected at least 24",
    },
    {
      defines: { SIZE: 23 },
      says: "bad.so: filter has _struct_size 23, too small to hold its name: expected at least 24",
    },
    {
      defines: { SIZE: 6, MODEL: 0x5000 },
      says: "bad.so: filter._version is 0x500000000001, where there is no text that can be read",
    },
    { defines: { MODEL: 4 }, says: "bad.so: filter has thread model 4: expected 0 to 3" },
    { defines: { NAME: "NULL" }, says: "bad.so: filter must have a .name field" },
    { defines: { NAME: '""' }, says: "bad.so: filter.name field must not be empty" },
    {
      defines: { NAME: '"a b"' },
      says: "bad.so: filter.name ('a b') field must contain only ASCII alphanumeric characters",
    },
    {
      defines: { NAME: '"\\303\\274"' },
      says: "bad.so: filter.name ('ü') field must contain only ASCII alphanumeric characters",
    },
  ])("a filter with %o", async ({ defines, says }) => {
    expect(await asFilter(bad(defines))).toEqual(refused(says));
  });

  test.each([
    { defines: { NO_INIT: true }, says: "bad.so: this is no nbdkit plugin: it has no plugin_init" },
    { defines: { INIT_NULL: true }, says: "bad.so: plugin registration function failed" },
    {
      defines: { API: 3 },
      says: "bad.so: plugin is incompatible with this version of nbdkit (_api_version = 3, need 1 or 2)",
    },
    {
      defines: { SIZE: 23 },
      says: "bad.so: plugin has _struct_size 23: expected at least 24, so that it can hold its name",
    },
    {
      defines: { SIZE: 65536 },
      says: "bad.so: plugin has _struct_size 65536: expected at most 65535",
    },
    { defines: { MODEL: -1 }, says: "bad.so: plugin has thread model -1: expected 0 to 3" },
    { defines: { NAME: "NULL" }, says: "bad.so: plugin must have a .name field" },
    {
      defines: { NAME: '"a b"' },
      says: "bad.so: plugin.name ('a b') field must contain only ASCII alphanumeric characters or dashes, starting with a letter or digit",
    },
    { defines: { WITHOUT: "open" }, says: "bad.so: plugin must have a .open callback" },
    { defines: { WITHOUT: "get_size" }, says: "bad.so: plugin must have a .get_size callback" },
    { defines: { WITHOUT: "pread" }, says: "bad.so: plugin must have a .pread callback" },
  ])("a plugin with $defines", async ({ defines, says }) => {
    expect(await asPlugin(bad({ PLUGIN: true, ...defines }))).toEqual(refused(says));
  });

  test("a plugin as a filter, and a filter as a plugin", async () => {
    expect(await asFilter(bad({ PLUGIN: true }))).toEqual(
      refused("bad.so: this is a plugin, but it was given as a filter"),
    );
    expect(await asPlugin(bad({}))).toEqual(
      refused("bad.so: this is a filter, but it was given as a plugin"),
    );
  });

  test("a module that calls a missing function", async () => {
    const { code, stderr } = await asFilter(compileModule("test/fixtures/missing-symbol.c"));
    expect(code).toBe(1);
    expect(stderr).toBe(
      "nbdkit: error: missing-symbol.so: undefined symbol: nbdkit_does_not_exist: the module needs nbdkit_does_not_exist, which this version of nbdkit does not have\n",
    );
  });

  test.each(["config", "config_complete", "get_ready", "after_fork"])(
    "a plugin whose %s fails",
    async (stage) => {
      const plugin = await compileModule("test/fixtures/failing-plugin.c");
      const args = [plugin, `fail-in=${stage}`];
      if (stage === "config") args.push("fail-with=EIO");
      const { code, stdout, stderr } = await start(args);
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      // As in nbdkit, the server adds nothing to the module's message.
      expect(stderr).toBe(`nbdkit: error: ${stage} fails, as requested\n`);
    },
  );

  test.each(["config", "config_complete"])("a filter whose %s fails", async (stage) => {
    const filter = await compileModule("test/fixtures/failing-filter.c");
    const args = [`--filter=${filter}`, "null", `fail-in=${stage}`];
    if (stage === "config") args.push("fail-with=EIO");
    const { code, stdout, stderr } = await start(args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toBe(`nbdkit: error: ${stage} fails, as requested\n`);
  });

  test.each(["x", "1.2=", "=1.2", "other=1.4", "x=K"])("--filter-release=%s", async (value) => {
    const { code, stderr } = await start([`--filter-release=${value}`, "null"]);
    expect(code).toBe(1);
    expect(stderr).toContain("filter-release");
  });
});

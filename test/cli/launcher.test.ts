/** bin/nbdkit, which npm installs as the program, finds this server and its Bun. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { run } from "#test/server";

import { versionLine } from "../../src/cli/information.ts";

const launcher = join(import.meta.dir, "../../bin/nbdkit");
const path = "/usr/bin:/bin";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-launcher-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

test("a symbolic link to the launcher works from anywhere, by name and by path", async () => {
  const programs = join(folder, "programs");
  mkdirSync(programs);
  symlinkSync(launcher, join(programs, "nbdkit"));
  const env = { PATH: `${programs}:${path}` };
  const expected = { code: 0, stdout: versionLine(), stderr: "" };
  expect(await run(["nbdkit", "-V"], { env, cwd: "/" })).toEqual(expected);
  expect(await run(["./nbdkit", "-V"], { env, cwd: programs })).toEqual(expected);
  expect(await run(["sh", "-c", "exec nbdkit -V"], { env, cwd: folder })).toEqual(expected);
});

test("the launcher passes arguments on unchanged", async () => {
  const result = await run([launcher, "--", "-V"], { env: { PATH: path } });
  expect(result).toMatchObject({ code: 1, stdout: "" });
  expect(result.stderr).toContain('"-V"');
});

test("the launcher becomes the server's process", async () => {
  const script = `export const x = 1; process.stderr.write(String(process.pid) + "\\n");
    export default { kind: "plugin", name: "pid", open() {}, getSize: () => 0n, pread() {} };`;
  const plugin = join(folder, "pid.ts");
  writeFileSync(plugin, script);
  const child = Bun.spawn([launcher, plugin, "--version"], { stdio: ["ignore", "ignore", "pipe"] });
  expect(await new Response(child.stderr).text()).toBe(`${child.pid}\n`);
  expect(await child.exited).toBe(0);
});

test("Bun's environment variables do not change the server", async () => {
  const preload = join(folder, "preload.ts");
  writeFileSync(preload, 'process.stderr.write("preloaded\\n");');
  const env = { BUN_OPTIONS: `--preload ${preload}`, BUN_INSPECT_PRELOAD: preload };
  const result = await run([launcher, "-V"], { env });
  expect(result).toEqual({ code: 0, stdout: versionLine(), stderr: "" });
});

test.each(["what?", "back\\slash"])(
  "the launcher names a folder that Bun cannot load from: %s",
  async (name) => {
    const root = join(folder, name);
    mkdirSync(join(root, "bin"), { recursive: true });
    copyFileSync(launcher, join(root, "bin/nbdkit"));
    expect(await run([join(root, "bin/nbdkit"), "-V"], { env: { PATH: path } })).toEqual({
      code: 1,
      stdout: "",
      stderr: `nbdkit: error: Bun cannot load programs from ${root}: expected a path without ? and \\\n`,
    });
  },
);

test.each([
  { words: [] },
  { words: ["HOME="] },
  { words: ["HOME=relative"] },
  { words: ["HOME=/", "XDG_CACHE_HOME="] },
  { words: ["HOME=/", "XDG_CACHE_HOME=relative"] },
  { words: ["PATH="] },
])(
  "the launcher works with only $words in the environment, and leaves no files behind",
  async ({ words }) => {
    const empty = mkdtempSync(join(folder, "empty-"));
    const result = await run(["/usr/bin/env", "-i", ...words, launcher, "-V"], { cwd: empty });
    expect(result).toEqual({ code: 0, stdout: versionLine(), stderr: "" });
    expect(readdirSync(empty)).toEqual([]);
  },
);

test("the launcher finds Bun even if npm has not run the install script of Bun's package", async () => {
  const root = join(folder, "unfinished");
  const stub = join(root, "node_modules/bun/bin");
  const real = join(root, "node_modules/@oven/bun-linux-x64/bin");
  for (const one of [join(root, "bin"), stub, real]) mkdirSync(one, { recursive: true });
  copyFileSync(launcher, join(root, "bin/nbdkit"));
  const text = `echo "Error: Bun's postinstall script was not run." >&2\nexit 1\n`;
  writeFileSync(join(stub, "bun.exe"), text, { mode: 0o755 });
  symlinkSync(process.execPath, join(real, "bun"));
  symlinkSync(join(import.meta.dir, "../../src"), join(root, "src"));
  expect(await run([join(root, "bin/nbdkit"), "-V"], { env: { PATH: path } })).toEqual({
    code: 0,
    stdout: versionLine(),
    stderr: "",
  });
});

test("the launcher reports that Bun is not installed", async () => {
  const bin = join(folder, "elsewhere", "bin");
  mkdirSync(bin, { recursive: true });
  copyFileSync(launcher, join(bin, "nbdkit"));
  const root = join(folder, "elsewhere");
  // Only this folder is in PATH, so that the launcher finds no other Bun.
  const tools = join(folder, "tools");
  mkdirSync(tools);
  symlinkSync(Bun.which("readlink") ?? "", join(tools, "readlink"));
  expect(await run([join(bin, "nbdkit"), "-V"], { env: { PATH: tools } })).toEqual({
    code: 1,
    stdout: "",
    stderr: `nbdkit: error: Bun is not installed: neither beside ${root} nor in the search path\n`,
  });
});

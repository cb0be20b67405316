/** Root starts the server in every way in another user's folder: nothing of it runs, and clients are served. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { moduleDirectories } from "#modules/directories";
import { compileModule, haveCompiler } from "#test/modules";
import { copyPackage } from "#test/package";
import { run, until } from "#test/server";

import { isRunning } from "../cli/daemon-fixture.ts";
import { Traps } from "./traps.ts";

const nbdinfo = Bun.which("nbdinfo") ?? "";
const isRoot = process.getuid?.() === 0;
const other = 65_534;
/** Makes the name of the compiled runtime unique, so that no other folder has it. */
const compiler = `cc -DHOSTILE=${process.pid}${Date.now()}`;

let traps: Traps;
/** Root's own folder, which has the caches. */
let own = "";
/** The program of a package with traps in every folder above it, and the link to it that npm makes. */
let program = "";
let link = "";
/** A folder without traps of its own. */
let inner = "";

beforeAll(async () => {
  own = mkdtempSync(join(tmpdir(), "nbdkit-own-"));
  traps = await Traps.make();
  const project = join(traps.path, "project");
  await traps.plant(project);
  const root = join(project, "node_modules/nbdkit");
  link = join(project, "node_modules/.bin/nbdkit");
  for (const path of [root, link]) rmSync(path, { recursive: true });
  copyPackage(root);
  symlinkSync("../nbdkit/bin/nbdkit", link);
  program = join(root, "bin/nbdkit");
  inner = join(traps.path, "inner/most");
  mkdirSync(inner, { recursive: true });
  if (isRoot) chownSync(traps.path, other, other);
}, 60_000);
afterAll(() => {
  traps[Symbol.dispose]();
  rmSync(own, { recursive: true });
});

/** The current folders in which the server is started. */
const places = [
  ["in the folder", () => traps.path],
  ["below the folder", () => inner],
] as const;

/** PATH begins with the current folder, and HOME is the hostile folder. */
function environment(): Record<string, string> {
  return {
    // Root must not run the folder's compiler by its absolute path either.
    PATH: `:.:bin:node_modules/.bin:${isRoot ? `${traps.path}/bin:` : ""}/usr/local/bin:/usr/bin:/bin`,
    HOME: traps.path,
    XDG_CONFIG_HOME: traps.path,
    XDG_CACHE_HOME: own,
    NODE_PATH: "node_modules",
    CC: compiler,
  };
}

function start(
  cwd: string,
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
) {
  return run(command, { cwd, env: { ...environment(), ...env } });
}

/** Arguments with which the server prints the size that a client sees. */
const size = () => ["-U", "-", "--run", `${nbdinfo} --size "$uri"`];
const served = (stdout: string) => ({ code: 0, stdout, stderr: "" });

test("the traps work: Bun, its loader and a shell run files of the folder", async () => {
  const main = join(program, "../../src/main.ts");
  const bun = [process.execPath, "--no-env-file"];
  await start(traps.path, [...bun, "--config=/dev/null", main, "-V"]);
  expect(traps.sprung()).toEqual(["tsconfig.json"]);
  await start(inner, [...bun, "--config=/dev/null", main, "-V"]);
  expect(traps.sprung()).toEqual(["tsconfig.json"]);
  await start(traps.path, [...bun, "--tsconfig-override=/dev/null", main, "-V"]);
  expect(traps.sprung()).toEqual(["bunfig.toml"]);
  await start(traps.path, ["/bin/sh", "-c", "readlink /"]);
  expect(traps.sprung()).toEqual(["program readlink"]);
  if (!haveCompiler) return;
  const file = join(import.meta.dir, "../abi/open-by-bun-fixture.ts");
  await start(traps.path, [...bun, "--config=/dev/null", "--tsconfig-override=/dev/null", file]);
  expect(traps.sprung()).toEqual(["library"]);
});

test("the server ignores a jsconfig.json without a tsconfig.json", async () => {
  using more = await Traps.make();
  rmSync(join(more.path, "tsconfig.json"));
  const main = join(import.meta.dir, "../../src/main.ts");
  await start(more.path, [process.execPath, "--no-env-file", "--config=/dev/null", main, "-V"]);
  expect(more.sprung()).toEqual(["jsconfig.json"]);
  expect(await start(more.path, [program, "-V"])).toMatchObject({ code: 0, stderr: "" });
  expect(more.sprung()).toEqual([]);
});

test("the server keeps nothing in a home whose parent belongs to another user", async () => {
  const home = join(traps.path, "home");
  mkdirSync(home);
  const env = { HOME: home, XDG_CACHE_HOME: "" };
  expect(await start(inner, [program, "-V"], env)).toMatchObject({ code: 0, stderr: "" });
  expect(readdirSync(home)).toEqual([]);
});

test("the package keeps Bun's cache only if it belongs to this user", async () => {
  const root = join(own, "package");
  const kept = join(root, "build/transpiled");
  copyPackage(root);
  expect(await start(inner, [join(root, "bin/nbdkit"), "-V"])).toMatchObject({ code: 0 });
  expect(existsSync(kept)).toBe(true);
  rmSync(join(root, "build"), { recursive: true });
  if (!isRoot) return;
  chownSync(root, other, other);
  expect(await start(inner, [join(root, "bin/nbdkit"), "-V"])).toMatchObject({ code: 0 });
  expect(existsSync(join(root, "build"))).toBe(false);
});

describe.each(places)("nothing of the folder runs if the server is started %s with", (_, cwd) => {
  test.each(["--version", "--help", "--dump-config", "--long-options"])("%s", async (option) => {
    for (const command of [program, link]) {
      const { code, stdout, stderr } = await start(cwd(), [command, option]);
      expect({ code, stderr, sprung: traps.sprung() }).toEqual({ code: 0, stderr: "", sprung: [] });
      expect(stdout).not.toBe("");
      expect(stdout).not.toContain(`plugindir=${traps.path}`);
    }
  });

  test.skipIf(nbdinfo === "")("--run (needs nbdinfo)", async () => {
    for (const command of [program, link]) {
      const layers = ["--filter=cow", "--filter=offset", "memory", "1M", "offset=1k"];
      const result = await start(cwd(), [command, ...layers, ...size()]);
      expect({ ...result, sprung: traps.sprung() }).toEqual({ ...served("1047552\n"), sprung: [] });
    }
  });

  test.skipIf(nbdinfo === "")("-P, as a daemon (needs nbdinfo)", async () => {
    const [socket, pidFile] = [join(own, "socket"), join(own, "pid")];
    const result = await start(cwd(), [program, "-U", socket, "-P", pidFile, "memory", "1M"]);
    expect(result).toEqual(served(""));
    const pid = Number(readFileSync(pidFile, "utf8"));
    try {
      expect(await run([nbdinfo, "--size", `nbd+unix:///?socket=${socket}`])).toEqual(
        served("1048576\n"),
      );
    } finally {
      process.kill(pid, "SIGTERM");
      await until(() => !isRunning(pid));
      for (const path of [socket, pidFile]) rmSync(path);
    }
    expect(traps.sprung()).toEqual([]);
  });

  test("-s", async () => {
    const result = await start(cwd(), [program, "-s", "memory", "1M"]);
    expect(result).toMatchObject({ code: 0, stdout: expect.stringContaining("NBDMAGICIHAVEOPT") });
    expect(traps.sprung()).toEqual([]);
  });

  test("--tls and --selinux-label", async () => {
    await start(cwd(), [program, "--tls=on", "--selinux-label=l", ...size(), "memory", "1M"]);
    expect(traps.sprung()).toEqual([]);
  });
});

/** A plugin that imports the API by both names, a module of Node and its own file. */
const plugin = (first = "") => `${first}import { definePlugin } from "nbdkit";
import { NbdError } from "#api";
import { existsSync } from "node:fs";
import { size } from "./own-size.ts";
if (!existsSync("/") || typeof NbdError !== "function") throw new Error("other modules");
export default definePlugin({
  name: "own",
  open: () => ({}),
  getSize: () => size,
  pread: (_handle, buf) => void buf.fill(0),
});
`;

describe.skipIf(nbdinfo === "")("nothing else of the folder runs with (needs nbdinfo)", () => {
  beforeAll(() => {
    for (const folder of [traps.path, inner]) {
      writeFileSync(join(folder, "own-size.ts"), "export const size = 1536n;\n");
      writeFileSync(join(folder, "own.ts"), plugin());
      writeFileSync(join(folder, "script.ts"), plugin("#!/usr/bin/env nbdkit\n"), { mode: 0o755 });
    }
  });

  test.each(places)("a TypeScript module by its path, %s", async (_, cwd) => {
    for (const [from, path] of [
      [cwd(), "./own.ts"],
      ["/", join(cwd(), "own.ts")],
    ] as const) {
      const result = await start(from, [program, path, ...size()]);
      expect({ ...result, sprung: traps.sprung() }).toEqual({ ...served("1536\n"), sprung: [] });
    }
  });

  test.each(places)("a script whose first line names the server, %s", async (_, cwd) => {
    const env = { PATH: `${join(program, "..")}:/usr/bin:/bin` };
    const result = await start(cwd(), ["./script.ts", ...size()], env);
    expect({ ...result, sprung: traps.sprung() }).toEqual({ ...served("1536\n"), sprung: [] });
  });

  const native = test.skipIf(!haveCompiler);

  native.each(places)(
    "a C module, %s, for which the native runtime is compiled (needs cc)",
    async (_, cwd) => {
      const filter = await compileModule("examples/xor/xor.c", { name: "own-xor" });
      const path = join(cwd(), "own-xor.so");
      writeFileSync(path, readFileSync(filter));
      const command = [program, "--filter=./own-xor.so", "memory", "1M", "xor-key=1", ...size()];
      const { code, stdout, stderr } = await start(cwd(), command);
      expect({ code, stdout, sprung: traps.sprung() }).toEqual({
        code: 0,
        stdout: "1048576\n",
        sprung: [],
      });
      expect(stderr).toMatch(/^(nbdkit: compiling the native runtime with .*\n)?$/);
      expect(await start(cwd(), command)).toEqual(served("1048576\n"));
    },
    60_000,
  );

  const haveShell = existsSync(join(moduleDirectories().plugindir, "nbdkit-sh-plugin.so"));

  native.skipIf(!haveShell).each(places)(
    "a script of the sh plugin, %s (needs cc, nbdkit)",
    async (_, cwd) => {
      const script = join(cwd(), "own.sh");
      const cases = "case $1 in get_size) echo 2048 ;; pread) exit 1 ;; *) exit 2 ;; esac";
      writeFileSync(script, `#!/bin/bash\n${cases}\n`, { mode: 0o755 });
      const { code, stdout } = await start(cwd(), [program, "sh", "./own.sh", ...size()]);
      expect({ code, stdout, sprung: traps.sprung() }).toEqual({
        code: 0,
        stdout: "2048\n",
        sprung: [],
      });
    },
    60_000,
  );
});

test.skipIf(!isRoot)(
  "a package without its dependencies refuses those of another user (needs root)",
  async () => {
    const root = join(traps.path, "without");
    const bun = join(root, "node_modules/bun/bin");
    copyPackage(root);
    rmSync(join(root, "node_modules"));
    mkdirSync(bun, { recursive: true });
    symlinkSync(process.execPath, join(bun, "bun.exe"));
    const planted = join(traps.path, "node_modules/commander");
    const command = [join(root, "bin/nbdkit"), "-V"];
    await start(inner, command);
    expect(traps.sprung()).toEqual(["node_modules commander"]);
    chownSync(planted, other, other);
    expect({ ...(await start(inner, command)), sprung: traps.sprung() }).toEqual({
      code: 1,
      stdout: "",
      stderr: `nbdkit: error: ${planted} belongs to another user than ${root}: run npm ci in ${root}\n`,
      sprung: [],
    });
  },
);

test.skipIf(!isRoot)(
  "root does not run another user's bun in the search path (needs root)",
  async () => {
    const lone = join(traps.path, "lone");
    for (const it of ["bin", "node_modules/commander"]) {
      mkdirSync(join(lone, it), { recursive: true });
    }
    writeFileSync(join(lone, "bin/nbdkit"), readFileSync(program), { mode: 0o755 });
    const { code, stdout, stderr } = await start(traps.path, [join(lone, "bin/nbdkit"), "-V"], {
      PATH: `.:${traps.path}:/usr/bin:/bin`,
    });
    expect({ code, stdout, sprung: traps.sprung() }).toEqual({ code: 1, stdout: "", sprung: [] });
    expect(stderr).toBe(
      `nbdkit: warning: ${traps.path}/bun is not used: it or a folder above it does not belong to root\n` +
        `nbdkit: error: Bun is not installed: neither beside ${lone} nor in the search path\n`,
    );
  },
);

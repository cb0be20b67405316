/** The package that npm makes, installed in an empty folder: all that the manuals promise works from there. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { moduleDirectories } from "#modules/directories";
import { haveCompiler } from "#test/modules";
import { installed, type Ran, run } from "#test/server";

import { version } from "../../src/cli/version.ts";

const root = join(import.meta.dirname, "../..");
const installMs = 180_000;
/** For what compiles the server's native part first. */
const compileMs = 120_000;

let folder = "";
let tarball = "";
const at = (...parts: string[]) => join(folder, ...parts);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-package-"));
  const pack = await run(["npm", "pack", "--silent", "--pack-destination", folder], { cwd: root });
  expect(pack).toMatchObject({ code: 0 });
  writeFileSync(at("package.json"), '{ "private": true }\n');
  tarball = at(pack.stdout.trim().split("\n").at(-1) ?? "");
  const quiet = ["--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"];
  const install = await run(["npm", "install", ...quiet, tarball], {
    cwd: folder,
    timeoutMs: installMs,
  });
  expect(install).toMatchObject({ code: 0, stderr: "" });
}, installMs);
afterAll(() => rmSync(folder, { recursive: true }));

/** As a user of the package has it: its programs are found, and this project's are not. */
function there(command: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const path = [at("node_modules/.bin"), "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin"];
  return run(command, { cwd: folder, env: { PATH: path.join(":"), ...env } });
}

const sh = (script: string, env?: Readonly<Record<string, string>>) =>
  there(["/bin/sh", "-c", script], env);

/** The first start with a C module says that it compiles the native runtime. */
const afterCompiling = (ran: Ran): Ran => ({
  ...ran,
  stderr: ran.stderr.replace(/^nbdkit: compiling the native runtime .*\n/, ""),
});

const done = (stdout: string): Ran => ({ code: 0, stdout, stderr: "" });

/** The block of code in a manual of the package that has this text in it. */
function example(manual: string, text: string): string {
  const page = readFileSync(at("node_modules/nbdkit/docs", manual), "utf8");
  const fenced = [...page.matchAll(/^```\w+\n([^]*?)^```$/gm)].map(([, code = ""]) => code);
  const indented = page
    .split(/\n(?=\S)/)
    .map((part) =>
      part
        .split(/\n\n(?= {4})/)
        .slice(1)
        .join("\n\n"),
    )
    .map((block) => block.replaceAll(/^ {4}/gm, "") + "\n");
  const block = [...fenced, ...indented].find((code) => code.includes(text));
  if (block === undefined) throw new Error(`${manual} has no code with ${text}`);
  return block;
}

test("holds what is needed, and no tests", () => {
  const files = readdirSync(at("node_modules/nbdkit"), { recursive: true }).map(String);
  expect(files).toEqual(
    expect.arrayContaining([
      "LICENSE",
      "README.md",
      "completions/_nbdkit",
      "completions/nbdkit.bash",
      "examples/systemd/nbdkit.service",
      "include/nbdkit-filter.h",
      "man/man1/nbdkit-cow-filter.1",
      "man/man1/nbdkit.1",
      "man/man3/nbdkit-filter.3",
      "share/pkgconfig/nbdkit.pc",
    ]),
  );
  expect(
    files.filter((file) => /(\.test|-fixture)\.ts$|^(test|bench|codegen)\//.test(file)),
  ).toEqual([]);
});

test("npx finds the program, and it knows where it is", async () => {
  expect(await there(["npx", "nbdkit", "--version"])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^nbdkit 1\.48\.1 /),
  });
  const { stdout } = await there(["nbdkit", "--dump-config"]);
  expect(stdout).toContain(`binary=${at("node_modules/nbdkit/bin/nbdkit")}\n`);
  expect(stdout).toContain(`mandir=${at("node_modules/nbdkit/man")}\n`);
});

test("nothing in the current folder changes the server", async () => {
  const evil = mkdtempSync(join(folder, "evil-"));
  writeFileSync(join(evil, "bunfig.toml"), 'preload = ["./first.ts"]\n');
  writeFileSync(join(evil, "first.ts"), 'console.log("mine");\n');
  writeFileSync(join(evil, ".env"), "NBDKIT_PLUGINDIR=/mine\n");
  const { stdout } = await sh(`cd '${evil}' && nbdkit --dump-config`);
  expect(stdout).not.toContain("mine");
});

test(
  "all is there where npm runs no install scripts (needs pkgconf)",
  async () => {
    const bare = mkdtempSync(join(folder, "bare-"));
    writeFileSync(join(bare, "package.json"), '{ "private": true }\n');
    const quiet = ["--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"];
    const install = ["npm", "install", "--ignore-scripts", ...quiet, tarball];
    expect(await run(install, { cwd: bare, timeoutMs: installMs })).toMatchObject({ code: 0 });
    const config = await run([join(bare, "node_modules/.bin/nbdkit"), "--dump-config"], {
      cwd: "/",
    });
    expect(config).toMatchObject({ code: 0, stderr: "" });
    const folderOfPc = /^pkgconfigdir=(.*)$/m.exec(config.stdout)?.[1] ?? "";
    expect(existsSync(join(folderOfPc, "nbdkit.pc"))).toBe(true);
    if (!installed("pkg-config")) return;
    const env = { PKG_CONFIG_PATH: folderOfPc };
    const cflags = await run(["pkg-config", "--cflags", "nbdkit"], { env });
    expect(cflags).toMatchObject({ code: 0, stderr: "" });
    const [include = ""] = /(?<=^-I)\S+/.exec(cflags.stdout) ?? [];
    expect(existsSync(join(include, "nbdkit-filter.h"))).toBe(true);
    expect(await run(["pkg-config", "--modversion", "nbdkit"], { env })).toEqual(
      done(`${version}\n`),
    );
  },
  installMs,
);

describe("for C authors", () => {
  const pkgConfig = 'PKG_CONFIG_PATH=$(nbdkit --dump-config | sed -n "s/^pkgconfigdir=//p")';
  const withTools = test.skipIf(!installed("pkg-config") || !haveCompiler || !installed("nbdinfo"));

  withTools(
    "the manual's filter compiles and runs (needs pkgconf, cc and nbdinfo)",
    async () => {
      writeFileSync(at("half.c"), example("nbdkit-filter.md", "half_get_size"));
      const compile = `export ${pkgConfig}; cc -Wall -Werror -shared -fPIC $(pkg-config --cflags nbdkit) -o half.so half.c`;
      expect(await sh(compile)).toEqual(done(""));
      const serve = `nbdkit -U - --filter=./half.so memory 1M --run 'nbdinfo --size "$uri"'`;
      expect(afterCompiling(await sh(serve))).toEqual(done("524288\n"));
    },
    compileMs,
  );

  withTools(
    "the manual's plugin compiles and runs (needs pkgconf, cc and nbdinfo)",
    async () => {
      writeFileSync(at("ones.c"), example("nbdkit-plugin.md", "ones_pread"));
      const compile = `export ${pkgConfig}; cc -Wall -Werror -shared -fPIC $(pkg-config --cflags nbdkit) -o ones.so ones.c`;
      expect(await sh(compile)).toEqual(done(""));
      const serve = `nbdkit -U - ./ones.so --run 'nbdinfo --size "$uri"'`;
      expect(afterCompiling(await sh(serve))).toEqual(done("1048576\n"));
    },
    compileMs,
  );

  withTools(
    "a filter for an older release is compiled with its layout",
    async () => {
      const source = `#include <nbdkit-filter.h>
static void *my_open (nbdkit_next_open *next, nbdkit_backend *nxdata, int readonly)
{ return next (nxdata, readonly) == -1 ? NULL : NBDKIT_HANDLE_NOT_NEEDED; }
static struct nbdkit_filter filter = { .name = "old", .open = my_open };
NBDKIT_REGISTER_FILTER (filter)
`;
      writeFileSync(at("old.c"), source);
      const flags = "pkg-config --define-variable=release=1_14 --cflags nbdkit";
      const compile = `export ${pkgConfig}; cc -Wall -Werror -shared -fPIC $(${flags}) -o old.so old.c`;
      expect(await sh(compile)).toEqual(done(""));
      const { stdout } = await sh("nbdkit --inspect ./old.so");
      expect(stdout).toContain("layout: 1.14\n");
    },
    compileMs,
  );

  withTools(
    "every example in C is compiled by the same recipe",
    async () => {
      for (const name of ["ramdisk-v1", "ramdisk-v2", "tail-guard", "xor"]) {
        const source = join(root, "examples", name, `${name}.c`);
        const compile = `cc -Wall -Werror -pthread -shared -fPIC $(pkg-config --cflags nbdkit) -o ${name}.so '${source}'`;
        expect(await sh(`export ${pkgConfig}; ${compile}`)).toEqual(done(""));
      }
      const { stdout } = await sh("nbdkit --inspect ./xor.so; nbdkit --inspect ./tail-guard.so");
      expect(stdout).toMatch(/layout: original\n[^]*layout: 1\.2\n/);
    },
    compileMs,
  );

  withTools(
    "pkg-config tells the folders that the server looks in",
    async () => {
      const env = { NBDKIT_FILTERDIR: "", NBDKIT_PLUGINDIR: "" };
      const { stdout } = await sh("nbdkit --dump-config", env);
      const config = new Map(stdout.split("\n").map((line) => line.split("=") as [string, string]));
      for (const name of ["filterdir", "plugindir"]) {
        const told = await sh(`${pkgConfig} pkg-config --variable=${name} nbdkit`);
        expect(told).toEqual(done(`${config.get(name)}\n`));
      }
      expect(await sh(`${pkgConfig} pkg-config --atleast-version=1.44 nbdkit`)).toEqual(done(""));
    },
    compileMs,
  );
});

describe.skipIf(!installed("nbdinfo"))("for authors in TypeScript (needs nbdinfo)", () => {
  test("the manual's filter and plugin run", async () => {
    writeFileSync(at("limit.ts"), example("nbdkit-filter.md", "param.size({ required"));
    writeFileSync(at("ones.ts"), example("nbdkit-plugin.md", "buf.fill(0xff)"));
    const serve = `nbdkit -U - --filter=./limit.ts ./ones.ts limit=64k --run 'nbdinfo --size "$uri"'`;
    expect(await sh(serve)).toEqual(done("65536\n"));
  });
});

describe.skipIf(!installed("nbdinfo"))("scripts that name nbdkit first (needs nbdinfo)", () => {
  const size = `-U - --run 'nbdinfo --size "$uri"'`;

  function script(name: string, text: string): string {
    writeFileSync(at(name), text);
    chmodSync(at(name), 0o755);
    return `./${name}`;
  }

  test("the manual's plugin in TypeScript is a command", async () => {
    const text = example("nbdkit.md", "#!/usr/bin/env nbdkit\n");
    const path = script("zeroes.ts", text);
    expect(await sh(`${path} ${size}`)).toEqual(done("1048576\n"));
    // The same by the path of the server.
    const other = script("other.ts", text.replace(/^.*/, `#!${at("node_modules/.bin/nbdkit")}`));
    expect(await sh(`${other} --version`)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("\nzeroes\n"),
    });
  });

  const perl = existsSync(join(moduleDirectories().plugindir, "nbdkit-perl-plugin.so"));
  const withPerl = test.skipIf(!perl || !haveCompiler);
  withPerl(
    "the manual's script in Perl, too (needs nbdkit-plugin-perl and cc)",
    async () => {
      const path = script("disk.pl", example("nbdkit.md", "#!/usr/bin/env -S nbdkit -r perl"));
      expect(await sh(`${path} ${size}`)).toEqual(done("1048576\n"));
      const write = `${path} -U - --run 'nbdinfo --can write "$uri" || echo no'`;
      expect(await sh(write)).toEqual(done("no\n"));
    },
    compileMs,
  );
});

test.skipIf(!installed("man"))("man shows its pages (needs man-db)", async () => {
  const show = `man -M "$(nbdkit --dump-config | sed -n 's/^mandir=//p')" -P cat 3 nbdkit-filter`;
  const { code, stdout } = await sh(show, { LC_ALL: "C.UTF-8", MANWIDTH: "80" });
  expect({ code, first: stdout.split("\n")[0] }).toEqual({
    code: 0,
    first: expect.stringContaining("NBDKIT-FILTER(3)"),
  });
});

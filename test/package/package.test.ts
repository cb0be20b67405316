/** The package that npm makes, installed in an empty folder: everything in the manuals works from there. */
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
/** For tests that first compile the native runtime. */
const compileMs = 120_000;

let folder = "";
let tarball = "";
const install = [
  "npm",
  "install",
  "--no-audit",
  "--no-fund",
  "--prefer-offline",
  "--loglevel=error",
];
const at = (...parts: string[]) => join(folder, ...parts);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-package-"));
  const pack = await run(["npm", "pack", "--silent", "--pack-destination", folder], { cwd: root });
  expect(pack).toMatchObject({ code: 0 });
  writeFileSync(at("package.json"), '{ "private": true }\n');
  tarball = at(pack.stdout.trim().split("\n").at(-1) ?? "");
  const result = await run([...install, tarball], { cwd: folder, timeoutMs: installMs });
  expect(result).toMatchObject({ code: 0, stderr: "" });
}, installMs);
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs a command as a user of the package, whose programs are in PATH, unlike this project's. */
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

/** The block of code with this text in a manual of the package. */
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

test("the package has the files that users need, and no tests", () => {
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

test("npx runs the program, and --dump-config prints its paths", async () => {
  expect(await there(["npx", "nbdkit", "--version"])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(new RegExp(`^nbdkit ${RegExp.escape(version)} `)),
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
  "the package is complete if npm runs no install scripts (needs pkgconf)",
  async () => {
    const bare = mkdtempSync(join(folder, "bare-"));
    writeFileSync(join(bare, "package.json"), '{ "private": true }\n');
    const withoutScripts = [...install, "--ignore-scripts", tarball];
    expect(await run(withoutScripts, { cwd: bare, timeoutMs: installMs })).toMatchObject({
      code: 0,
    });
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

  const cc = `export ${pkgConfig}; cc -Wall -Werror -pthread -shared -fPIC`;
  async function compile(name: string, source: string, flags = ""): Promise<void> {
    const cflags = `$(pkg-config ${flags} --cflags nbdkit)`;
    expect(await sh(`${cc} ${cflags} -o ${name}.so '${source}'`)).toEqual(done(""));
  }

  withTools(
    "the manual's filter compiles and runs (needs pkgconf, cc and nbdinfo)",
    async () => {
      writeFileSync(at("half.c"), example("nbdkit-filter.md", "half_get_size"));
      await compile("half", "half.c");
      const serve = `nbdkit -U - --filter=./half.so memory 1M --run 'nbdinfo --size "$uri"'`;
      expect(afterCompiling(await sh(serve))).toEqual(done("524288\n"));
    },
    compileMs,
  );

  withTools(
    "the manual's plugin compiles and runs (needs pkgconf, cc and nbdinfo)",
    async () => {
      writeFileSync(at("ones.c"), example("nbdkit-plugin.md", "ones_pread"));
      await compile("ones", "ones.c");
      const serve = `nbdkit -U - ./ones.so --run 'nbdinfo --size "$uri"'`;
      expect(afterCompiling(await sh(serve))).toEqual(done("1048576\n"));
    },
    compileMs,
  );

  withTools(
    "release=1_14 compiles a filter with the layout of that release",
    async () => {
      const source = `#include <nbdkit-filter.h>
static void *my_open (nbdkit_next_open *next, nbdkit_backend *nxdata, int readonly)
{ return next (nxdata, readonly) == -1 ? NULL : NBDKIT_HANDLE_NOT_NEEDED; }
static struct nbdkit_filter filter = { .name = "old", .open = my_open };
NBDKIT_REGISTER_FILTER (filter)
`;
      writeFileSync(at("old.c"), source);
      await compile("old", "old.c", "--define-variable=release=1_14");
      const { stdout } = await sh("nbdkit --inspect ./old.so");
      expect(stdout).toContain("layout: 1.14\n");
    },
    compileMs,
  );

  withTools(
    "every C example compiles with the same command",
    async () => {
      for (const name of ["ramdisk-v1", "ramdisk-v2", "tail-guard", "xor"]) {
        await compile(name, join(root, "examples", name, `${name}.c`));
      }
      const { stdout } = await sh("nbdkit --inspect ./xor.so; nbdkit --inspect ./tail-guard.so");
      expect(stdout).toMatch(/layout: original\n[^]*layout: 1\.2\n/);
    },
    compileMs,
  );

  withTools(
    "pkg-config prints the folders in which the server looks for modules",
    async () => {
      const env = { NBDKIT_FILTERDIR: "", NBDKIT_PLUGINDIR: "" };
      const { stdout } = await sh("nbdkit --dump-config", env);
      const config = new Map(stdout.split("\n").map((line) => line.split("=") as [string, string]));
      for (const name of ["filterdir", "plugindir"]) {
        const printed = await sh(`${pkgConfig} pkg-config --variable=${name} nbdkit`);
        expect(printed).toEqual(done(`${config.get(name)}\n`));
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

describe.skipIf(!installed("nbdinfo"))(
  "scripts that begin with #! and nbdkit (needs nbdinfo)",
  () => {
    const size = `-U - --run 'nbdinfo --size "$uri"'`;

    function script(name: string, text: string): string {
      writeFileSync(at(name), text);
      chmodSync(at(name), 0o755);
      return `./${name}`;
    }

    test("the manual's TypeScript plugin runs as a command", async () => {
      const text = example("nbdkit.md", "#!/usr/bin/env nbdkit\n");
      const path = script("zeroes.ts", text);
      expect(await sh(`${path} ${size}`)).toEqual(done("1048576\n"));
      // The first line may also have the path of the server.
      const other = script("other.ts", text.replace(/^.*/, `#!${at("node_modules/.bin/nbdkit")}`));
      expect(await sh(`${other} --version`)).toMatchObject({
        code: 0,
        stdout: expect.stringContaining("\nzeroes\n"),
      });
    });

    const perl = existsSync(join(moduleDirectories().plugindir, "nbdkit-perl-plugin.so"));
    const withPerl = test.skipIf(!perl || !haveCompiler);
    withPerl(
      "the manual's Perl script runs as a command (needs nbdkit-plugin-perl and cc)",
      async () => {
        const path = script("disk.pl", example("nbdkit.md", "#!/usr/bin/env -S nbdkit -r perl"));
        expect(await sh(`${path} ${size}`)).toEqual(done("1048576\n"));
        const write = `${path} -U - --run 'nbdinfo --can write "$uri" || echo no'`;
        expect(await sh(write)).toEqual(done("no\n"));
      },
      compileMs,
    );
  },
);

test.skipIf(!installed("man"))("man shows the package's pages (needs man-db)", async () => {
  const show = `man -M "$(nbdkit --dump-config | sed -n 's/^mandir=//p')" -P cat 3 nbdkit-filter`;
  const { code, stdout } = await sh(show, { LC_ALL: "C.UTF-8", MANWIDTH: "80" });
  expect({ code, first: stdout.split("\n")[0] }).toEqual({
    code: 0,
    first: expect.stringContaining("NBDKIT-FILTER(3)"),
  });
});

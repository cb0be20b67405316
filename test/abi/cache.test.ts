/** The compiled native runtime that is kept in a folder: who makes it, and what may have become of it. */
import { beforeAll, describe, expect, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

import { compileModule, haveCompiler } from "#test/modules";
import { program, run } from "#test/server";

/** Compiling the runtime takes seconds where the machine is busy. */
const patience = 60_000;
/** Serve a chain with C in it, with `cache` for the folder. */
async function start(cache: string, env: Readonly<Record<string, string>> = {}) {
  const filter = await compileModule("examples/xor/xor.c");
  const args = [`--filter=${filter}`, "-U", "-", "--run", "echo served", "null", "xor-key=1"];
  const { code, stdout, stderr } = await run([...program, ...args], {
    env: { CC: "", XDG_CACHE_HOME: cache, ...env },
  });
  return { code, stdout, stderr: stderr.replaceAll(cache, "CACHE") };
}

const served = { code: 0, stdout: "served\n", stderr: "" };

function temporaryFolder(): Disposable & { readonly path: string; readonly files: string[] } {
  const path = mkdtempSync(join(tmpdir(), "nbdkit-cache-"));
  return {
    path,
    get files() {
      return readdirSync(join(path, "nbdkit-bun")).map((name) => join(path, "nbdkit-bun", name));
    },
    [Symbol.dispose]: () => rmSync(path, { recursive: true }),
  };
}

describe.skipIf(!haveCompiler)("the kept native runtime (needs cc)", () => {
  let name = "";
  let runtime: Uint8Array = new Uint8Array();
  beforeAll(async () => {
    using folder = temporaryFolder();
    expect(await start(folder.path)).toEqual(served);
    const [file = ""] = folder.files;
    name = basename(file);
    runtime = readFileSync(file);
  }, patience);

  /** Where the runtime is looked for in `folder`. */
  function place(folder: { readonly path: string }): string {
    mkdirSync(join(folder.path, "nbdkit-bun"));
    return join(folder.path, "nbdkit-bun", name);
  }

  test(
    "servers that need it at the same time all get it, and one file is kept",
    async () => {
      using folder = temporaryFolder();
      const both = await Promise.all([start(folder.path), start(folder.path)]);
      expect(both).toEqual([served, served]);
      expect(folder.files.map((file) => file.replace(/.*[.]/, ""))).toEqual(["so"]);
    },
    patience,
  );

  test("is used again", async () => {
    using folder = temporaryFolder();
    writeFileSync(place(folder), runtime);
    expect(await start(folder.path, { PATH: "" })).toEqual(served);
  });

  test.each([
    { what: "empty", length: 0 },
    { what: "cut off", length: 20_000 },
  ])(
    "is compiled again where the file is $what",
    async ({ length }) => {
      using folder = temporaryFolder();
      const file = place(folder);
      writeFileSync(file, runtime.subarray(0, length));
      expect(await start(folder.path)).toEqual(served);
      expect(folder.files).toEqual([file]);
      expect(statSync(file).size).toBeGreaterThan(length);
    },
    patience,
  );

  test(
    "says what is wrong where it cannot be kept, and leaves nothing",
    async () => {
      using folder = temporaryFolder();
      const file = place(folder);
      mkdirSync(file);
      const { code, stdout, stderr } = await start(folder.path);
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toStartWith(
        "nbdkit: error: the native runtime cannot be kept in CACHE/nbdkit-bun: ",
      );
      expect(folder.files).toEqual([file]);
    },
    patience,
  );

  test(
    "CC may have words of its own",
    async () => {
      using folder = temporaryFolder();
      expect(await start(folder.path, { CC: "cc -DUNUSED=1" })).toEqual(served);
    },
    patience,
  );

  test("says what is missing where there is no compiler", async () => {
    using folder = temporaryFolder();
    expect(await start(folder.path, { CC: "no-such-cc" })).toEqual({
      code: 1,
      stdout: "",
      stderr:
        "nbdkit: error: C modules need a C compiler once, to build the native runtime: " +
        "cannot run no-such-cc: install gcc and libc6-dev, or set CC\n",
    });
  });

  test("says what is missing where nothing can be written to", async () => {
    const nowhere = "/proc";
    expect(await start(nowhere, { HOME: nowhere, TMPDIR: nowhere })).toEqual({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(
        /^nbdkit: error: C modules need a folder .*: set XDG_CACHE_HOME or TMPDIR\n$/,
      ),
    });
  });

  test("says how the compiler ended where it said nothing itself", async () => {
    using folder = temporaryFolder();
    const killed = join(folder.path, "cc");
    writeFileSync(killed, "#!/bin/sh\nkill -9 $$\n", { mode: 0o755 });
    for (const [cc, end] of [
      ["false", "status 1"],
      [killed, "SIGKILL"],
    ] as const) {
      const { code, stderr } = await start(folder.path, { CC: cc });
      expect({ code, stderr: stderr.trimEnd() }).toEqual({
        code: 1,
        stderr: expect.stringMatching(new RegExp(`could not be compiled by .*[(]${end}[)]:$`)),
      });
    }
  });
});

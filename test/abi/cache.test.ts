/** The compiled native runtime that is kept in a folder: who makes it, and what may have become of it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";

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
  /** A compiler that is done at once: it copies what was compiled before. */
  let copier = "";
  let compiled: ReturnType<typeof temporaryFolder> | undefined;
  beforeAll(async () => {
    using folder = temporaryFolder();
    expect(await start(folder.path)).toEqual(served);
    const [file = ""] = folder.files;
    name = basename(file);
    runtime = readFileSync(file);
    compiled = temporaryFolder();
    copier = join(compiled.path, "cc");
    writeFileSync(join(compiled.path, "runtime.so"), runtime);
    const script = `#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\nexec cp "\${0%/*}/runtime.so" "$2"\n`;
    writeFileSync(copier, script, { mode: 0o755 });
  }, patience);
  afterAll(() => compiled?.[Symbol.dispose]());

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
    "is not taken from where others can write to",
    async () => {
      using folder = temporaryFolder();
      const file = place(folder);
      writeFileSync(file, "somebody else's");
      chmodSync(dirname(file), 0o777);
      const env = { CC: copier, HOME: folder.path, TMPDIR: folder.path };
      expect(await start(folder.path, env)).toEqual(served);
      expect(readFileSync(file, "utf8")).toBe("somebody else's");
      expect(folder.files).toEqual([file]);
    },
    patience,
  );

  test(
    "is looked for elsewhere where it cannot be loaded",
    async () => {
      using folder = temporaryFolder();
      expect(await start(folder.path, { CC: copier })).toEqual(served);
      const [file = ""] = folder.files;
      // As it is on a file system without programs, or from a machine with another libc.
      const other = Buffer.from("no library");
      const digest = new Bun.CryptoHasher("sha256").update(other).digest();
      writeFileSync(file, Buffer.concat([other, digest]));
      const home = join(folder.path, "home");
      expect(await start(folder.path, { CC: copier, HOME: home })).toEqual(served);
      expect(readdirSync(join(home, ".cache/nbdkit-bun"))).toEqual([basename(file)]);
    },
    patience,
  );

  test(
    "what a killed compiler left is removed later",
    async () => {
      using folder = temporaryFolder();
      const file = place(folder);
      const [old, fresh] = [`${file}.old.tmp`, `${file}.fresh.tmp`];
      for (const draft of [old, fresh]) writeFileSync(draft, "");
      const before = Date.now() / 1000 - 7200;
      utimesSync(old, before, before);
      expect(await start(folder.path, { CC: copier })).toEqual(served);
      expect(folder.files.filter((one) => one.endsWith(".tmp"))).toEqual([fresh]);
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

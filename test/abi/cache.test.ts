/** The compiled native runtime that is kept in a folder: when it is compiled, loaded, refused and removed. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";

import { compileModule, haveCompiler } from "#test/modules";
import { copyPackage } from "#test/package";
import { installed, program, run } from "#test/server";

/** Compiling the runtime takes seconds on a busy machine. */
const patience = 60_000;
/** Makes the name of the kept runtime unique, so that no other folder of this machine has it. */
const cc = `cc -DCACHE_TEST=${process.pid}${Date.now()}`;
const isRoot = process.getuid?.() === 0;
const mayMount = isRoot && installed("unshare") && Bun.spawnSync(["unshare", "-m", "true"]).success;

/** A copy of this package, which may keep a runtime. */
let copied = "";
const server = () => [...program.slice(0, -1), join(copied, "src/main.ts")];

/** Serves a chain with a C filter; `cache` is the folder. */
async function start(
  cache: string,
  env: Readonly<Record<string, string>> = {},
  prefix: readonly string[] = [],
) {
  const filter = await compileModule("examples/xor/xor.c");
  const args = [`--filter=${filter}`, "-U", "-", "--run", "echo served", "null", "xor-key=1"];
  const { code, stdout, stderr } = await run([...prefix, ...server(), ...args], {
    // Otherwise Bun keeps what it transpiles in the current folder.
    env: { CC: cc, XDG_CACHE_HOME: cache, BUN_RUNTIME_TRANSPILER_CACHE_PATH: "0", ...env },
  });
  return {
    code,
    stdout,
    stderr: (cache === "" ? stderr : stderr.replaceAll(cache, "CACHE")).replaceAll(
      copied,
      "PACKAGE",
    ),
  };
}

const served = { code: 0, stdout: "served\n", stderr: "" };

/** The result of a start that compiles the runtime and keeps it in `folder`. */
function compiledIn(folder: string, compiler = cc) {
  const line = `nbdkit: compiling the native runtime with ${compiler}, which takes some seconds: it is kept in ${folder}\n`;
  return { ...served, stderr: line };
}

const here = "CACHE/nbdkit-bun";

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
  /** A compiler that takes no time: it copies what was compiled before. */
  let copier = "";
  let copiedName = "";
  let compiled: ReturnType<typeof temporaryFolder> | undefined;
  beforeAll(async () => {
    copied = mkdtempSync(join(tmpdir(), "nbdkit-package-"));
    copyPackage(copied);
    using folder = temporaryFolder();
    expect(await start(folder.path)).toEqual(compiledIn(here));
    const [file = ""] = folder.files;
    name = basename(file);
    runtime = readFileSync(file);
    compiled = temporaryFolder();
    copier = join(compiled.path, "cc");
    writeFileSync(join(compiled.path, "runtime.so"), runtime);
    const script = `#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\nexec cp "\${0%/*}/runtime.so" "$2"\n`;
    writeFileSync(copier, script, { mode: 0o755 });
    expect(await start(compiled.path, { CC: copier })).toMatchObject({ code: 0 });
    copiedName = basename(compiled.files[0] ?? "");
  }, patience);
  afterAll(() => {
    compiled?.[Symbol.dispose]();
    rmSync(copied, { recursive: true, force: true });
  });
  beforeEach(() => rmSync(join(copied, "build"), { recursive: true, force: true }));

  /** The path of the runtime in `folder`. */
  function runtimeIn(folder: { readonly path: string }): string {
    mkdirSync(join(folder.path, "nbdkit-bun"));
    return join(folder.path, "nbdkit-bun", name);
  }

  test(
    "is kept once if two servers compile it at the same time",
    async () => {
      using folder = temporaryFolder();
      const both = await Promise.all([start(folder.path), start(folder.path)]);
      for (const one of both) expect(one).toMatchObject({ code: 0, stdout: "served\n" });
      expect(folder.files.map((file) => file.replace(/.*[.]/, ""))).toEqual(["so"]);
    },
    patience,
  );

  test("is loaded again without a compiler", async () => {
    using folder = temporaryFolder();
    writeFileSync(runtimeIn(folder), runtime);
    expect(await start(folder.path, { PATH: "" })).toEqual(served);
  });

  test.each([
    { what: "empty", length: 0 },
    { what: "cut off", length: 20_000 },
  ])(
    "is compiled again if the file is $what",
    async ({ length }) => {
      using folder = temporaryFolder();
      const file = runtimeIn(folder);
      writeFileSync(file, runtime.subarray(0, length));
      expect(await start(folder.path)).toEqual(compiledIn(here));
      expect(folder.files).toEqual([file]);
      expect(statSync(file).size).toBeGreaterThan(length);
    },
    patience,
  );

  describe.skipIf(!isRoot)("(needs root)", () => {
    /** Writes a library with a valid digest in place of the runtime. Loading it creates the file `marker`. */
    async function plant(file: string, marker: string): Promise<void> {
      const source = join(dirname(copied), `${basename(copied)}-planted.c`);
      const text = `#include <fcntl.h>
__attribute__ ((constructor)) static void run (void) { open (${JSON.stringify(marker)}, O_CREAT, 0600); }
`;
      writeFileSync(source, text);
      const library = readFileSync(await compileModule(source, { flags: ["-D_GNU_SOURCE"] }));
      rmSync(source);
      const digest = new Bun.CryptoHasher("sha256").update(library).digest();
      writeFileSync(file, Buffer.concat([library, digest]), { mode: 0o755 });
    }

    test.each([
      {
        what: "other users can write to the folder",
        spoil: (folder: string) => chmodSync(`${folder}/home/.cache/nbdkit-bun`, 0o777),
      },
      {
        what: "other users can rename the folder",
        spoil: (folder: string) => chmodSync(`${folder}/home/.cache`, 0o777),
      },
      {
        what: "the home belongs to another user",
        spoil: (folder: string) => chownSync(`${folder}/home`, 65_534, 65_534),
      },
      {
        what: "a folder above the home belongs to another user",
        spoil: (folder: string) => chownSync(folder, 65_534, 65_534),
      },
      {
        what: "the file belongs to another user",
        spoil: (folder: string) =>
          chownSync(`${folder}/home/.cache/nbdkit-bun/${copiedName}`, 65_534, 0),
      },
      {
        what: "other users can write to the file",
        spoil: (folder: string) =>
          chmodSync(`${folder}/home/.cache/nbdkit-bun/${copiedName}`, 0o766),
      },
      {
        what: "the file is a link",
        spoil: (folder: string) => {
          const file = `${folder}/home/.cache/nbdkit-bun/${copiedName}`;
          renameSync(file, `${folder}/elsewhere.so`);
          symlinkSync(`${folder}/elsewhere.so`, file);
        },
      },
      {
        what: "a link on the way belongs to another user",
        spoil: (folder: string) => {
          renameSync(`${folder}/home/.cache`, `${folder}/real`);
          symlinkSync(`${folder}/real`, `${folder}/home/.cache`);
          lchownSync(`${folder}/home/.cache`, 65_534, 65_534);
        },
      },
    ])(
      "is not loaded if $what",
      async ({ spoil }) => {
        for (const variable of ["HOME", "XDG_CACHE_HOME"]) {
          using folder = temporaryFolder();
          const cache = join(folder.path, "home/.cache");
          mkdirSync(join(cache, "nbdkit-bun"), { recursive: true, mode: 0o700 });
          const marker = join(folder.path, "ran");
          await plant(join(cache, "nbdkit-bun", copiedName), marker);
          spoil(folder.path);
          const env = variable === "HOME" ? { HOME: join(folder.path, "home") } : {};
          const result = await start(variable === "HOME" ? "" : cache, { CC: copier, ...env });
          expect(existsSync(marker)).toBe(false);
          expect(result).toMatchObject({ code: 0, stdout: "served\n" });
        }
      },
      patience,
    );
  });

  test(
    "is kept in the package, where all users find it",
    async () => {
      using folder = temporaryFolder();
      writeFileSync(join(folder.path, "file"), "");
      const unusable = join(folder.path, "file");
      expect(await start(unusable)).toEqual(compiledIn("PACKAGE/build"));
      expect(readdirSync(join(copied, "build"))).toEqual([name]);
      expect(await start("", { PATH: "" })).toEqual(served);
    },
    patience,
  );

  test(
    "is compiled into another folder if it cannot be loaded",
    async () => {
      using folder = temporaryFolder();
      // Such a file may come from a machine with another libc.
      const other = Buffer.from("no library");
      const digest = new Bun.CryptoHasher("sha256").update(other).digest();
      writeFileSync(runtimeIn(folder), Buffer.concat([other, digest]));
      expect(await start(folder.path)).toEqual(compiledIn("PACKAGE/build"));
      expect(await start(folder.path, { PATH: "" })).toEqual(served);
    },
    patience,
  );

  test(
    "replaces old runtimes and the leftovers of killed compilers",
    async () => {
      using folder = temporaryFolder();
      const kept = dirname(runtimeIn(folder));
      const make = (file: string, ageHours: number) => {
        const path = join(kept, file);
        if (file.endsWith(".so")) writeFileSync(path, "");
        else mkdirSync(path);
        const then = Date.now() / 1000 - ageHours * 3600;
        utimesSync(path, then, then);
        return path;
      };
      make("nbdkit-bun-old.tmp", 2);
      make("runtime-old.so", 100 * 24);
      const fresh = [
        make("nbdkit-bun-fresh.tmp", 0),
        make("runtime-fresh.so", 80 * 24),
        make("other-old.so", 100 * 24),
      ];
      expect(await start(folder.path, { CC: copier })).toEqual(compiledIn(here, copier));
      expect(folder.files.toSorted()).toEqual([...fresh, join(kept, copiedName)].toSorted());
    },
    patience,
  );

  test(
    "is used with a warning if it cannot be kept, and leaves no files",
    async () => {
      using folder = temporaryFolder();
      const file = join(dirname(runtimeIn(folder)), copiedName);
      mkdirSync(file);
      const { code, stdout, stderr } = await start(folder.path, { CC: copier });
      expect({ code, stdout }).toEqual({ code: 0, stdout: "served\n" });
      expect(stderr).toContain(
        `nbdkit: warning: the native runtime cannot be kept as ${here}/${basename(file)}: `,
      );
      expect(folder.files).toEqual([file]);
    },
    patience,
  );

  test(
    "is compiled with the arguments in CC",
    async () => {
      using folder = temporaryFolder();
      const compiler = `${cc} -DUNUSED=1`;
      expect(await start(folder.path, { CC: compiler })).toEqual(compiledIn(here, compiler));
    },
    patience,
  );

  test("asks for a compiler if there is none", async () => {
    using folder = temporaryFolder();
    expect(await start(folder.path, { CC: "no-such-cc" })).toEqual({
      code: 1,
      stdout: "",
      stderr:
        compiledIn(here, "no-such-cc").stderr +
        "nbdkit: error: C modules need a C compiler once, to build the native runtime: " +
        "cannot run no-such-cc: install gcc and libc6-dev, or set CC\n",
    });
  });

  describe.skipIf(!mayMount)("(needs unshare)", () => {
    /** The prefix of a command for which these folders are read-only file systems. */
    const readOnly = (folders: readonly string[]): readonly string[] => {
      const mounts = folders
        .map((it) => `mount --bind '${it}' '${it}' && mount -o remount,ro,bind '${it}' && `)
        .join("");
      return ["unshare", "-m", "/bin/sh", "-c", `${mounts}exec "$@"`, "sh"];
    };

    test(
      "is compiled at every start, with a warning, if no folder can keep it",
      async () => {
        using folder = temporaryFolder();
        mkdirSync(join(copied, "build"));
        const prefix = readOnly(["/var/cache", join(copied, "build"), folder.path]);
        const { code, stdout, stderr } = await start(
          folder.path,
          { CC: copier, HOME: folder.path },
          prefix,
        );
        expect({ code, stdout }).toEqual({ code: 0, stdout: "served\n" });
        expect(stderr).toBe(
          `nbdkit: warning: compiling the native runtime with ${copier}, which takes some seconds, at every start: ` +
            "it can be kept in none of CACHE/nbdkit-bun, PACKAGE/build, /var/cache/nbdkit-bun, CACHE/.cache/nbdkit-bun (-v says why): " +
            "make one of them, or set XDG_CACHE_HOME to a folder that only this user can write to\n",
        );
      },
      patience,
    );

    test("is kept and loaded on a file system that forbids executables", async () => {
      using folder = temporaryFolder();
      const path = join(folder.path, "nbdkit-bun");
      mkdirSync(path);
      const script = `mount --bind '${path}' '${path}' && mount -o remount,noexec,bind '${path}' && exec "$@"`;
      const noexec = ["unshare", "-m", "/bin/sh", "-c", script, "sh"];
      const first = await start(folder.path, { CC: copier }, noexec);
      expect(first).toEqual(compiledIn(here, copier));
      expect(await start(folder.path, { CC: copier, PATH: "/usr/bin:/bin" }, noexec)).toEqual(
        served,
      );
    });

    test("asks for a folder if none is writable", async () => {
      mkdirSync(join(copied, "build"));
      const prefix = readOnly(["/var/cache", join(copied, "build"), "/var/tmp", "/tmp"]);
      const result = await start("", { HOME: "/proc", TMPDIR: "/proc" }, prefix);
      expect(result).toEqual({
        code: 1,
        stdout: "",
        stderr: expect.stringMatching(
          /^nbdkit: error: C modules need a folder .*: set XDG_CACHE_HOME or TMPDIR .*\n$/,
        ),
      });
    });
  });

  test.each(["No space left on device", "Disk quota exceeded"])(
    "is not compiled in a folder where the compiler says: %s",
    async (reason) => {
      using folder = temporaryFolder();
      const full = join(folder.path, "cc");
      writeFileSync(full, `#!/bin/sh\necho "ld: $PWD/x: ${reason}" >&2\nexit 1\n`, { mode: 0o755 });
      const { code, stderr } = await start(folder.path, { CC: full });
      expect(code).toBe(1);
      expect(stderr).toContain("C modules need a folder to compile the native runtime in: ");
      expect(stderr).toContain("CACHE/nbdkit-bun has no room");
    },
  );

  test("is not kept if its sources change while it is compiled", async () => {
    using folder = temporaryFolder();
    const header = join(copied, "abi/runtime/changed.h");
    const updater = join(folder.path, "cc");
    writeFileSync(updater, `#!/bin/sh\ntouch ${header}\nexec ${copier} "$@"\n`, { mode: 0o755 });
    try {
      const { code, stderr } = await start(folder.path, { CC: updater });
      expect({ code, files: folder.files }).toEqual({ code: 1, files: [] });
      expect(stderr).toEndWith(
        "nbdkit: error: the sources of the native runtime changed while they were compiled: start the server again\n",
      );
    } finally {
      rmSync(header, { force: true });
    }
  });

  test("reports the status or signal of a compiler that prints nothing", async () => {
    using folder = temporaryFolder();
    const killed = join(folder.path, "cc");
    writeFileSync(killed, "#!/bin/sh\nkill -9 $$\n", { mode: 0o755 });
    for (const [compiler, end] of [
      ["false", "status 1"],
      [killed, "SIGKILL"],
    ] as const) {
      const { code, stderr } = await start(folder.path, { CC: compiler });
      expect({ code, stderr: stderr.trimEnd() }).toEqual({
        code: 1,
        stderr: expect.stringMatching(new RegExp(`could not be compiled by .*[(]${end}[)]:$`)),
      });
    }
  });
});

/** Modules call their own functions and those of their libraries, even if Bun exports functions of the same names. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";

import { compileModule, haveCompiler, runCompiler, temporaryFolder } from "#test/modules";
import { program, run } from "#test/server";

const headers = ["uv.h", "zlib.h", "openssl/evp.h", "sqlite3.h"];
const haveHeaders = haveCompiler && headers.every((name) => existsSync(`/usr/include/${name}`));
const libraries = ["-Wl,--no-as-needed", "-luv", "-lz", "-lcrypto", "-lsqlite3"];

/** The fields of these names that the module's dump_plugin printed. */
async function dumped(path: string, names: readonly string[]) {
  const { code, stdout, stderr } = await run([...program, "--dump-plugin", path]);
  const lines = stdout.split("\n").filter((line) => names.includes(line.split("=")[0] ?? ""));
  return { code, stderr, fields: Object.fromEntries(lines.map((line) => line.split("="))) };
}

describe("a module", () => {
  test.skipIf(!haveHeaders)(
    "calls its own functions and libuv, zlib, OpenSSL and SQLite, not Bun's (needs their headers)",
    async () => {
      const path = await compileModule("test/fixtures/libraries.c", { flags: libraries });
      const names = ["uv", "zlib", "openssl", "sqlite", "napi", "rt", "environ"];
      expect(await dumped(path, names)).toEqual({
        code: 0,
        stderr: "",
        fields: {
          uv: "libuv.so.1 rang",
          zlib: "libz.so.1 same",
          openssl: "libcrypto.so.3 ba78",
          sqlite: "libsqlite3.so.0 42",
          napi: "libraries.so own",
          rt: "libraries.so own",
          environ: "set",
        },
      });
    },
  );

  test.skipIf(Bun.which("g++") === null)(
    "may use exceptions, type information and streams of C++ (needs g++)",
    async () => {
      const path = join(temporaryFolder(), "cplusplus.so");
      const flags = ["-std=c++17", "-shared", "-fPIC", "-O1", "-I", "include"];
      await runCompiler([...flags, "-o", path, "test/fixtures/cplusplus.cc", "-lstdc++"], "C++");
      expect(await dumped(path, ["caught", "circle", "square", "thread"])).toEqual({
        code: 0,
        stderr: "",
        fields: { caught: "out_of_range", circle: "1", square: "0", thread: "1" },
      });
    },
  );
});

/** Libraries by name: none comes from the current folder. */
import { expect, test } from "bun:test";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { compileModule, haveCompiler } from "#test/modules";
import { run } from "#test/server";

import { openSystemLibrary } from "./system-library.ts";

test("openSystemLibrary finds a library of the system", () => {
  const { fegetround } = openSystemLibrary("libm.so.6", { fegetround: { returns: "i32" } });
  expect(fegetround()).toBe(0);
});

test.skipIf(!haveCompiler)(
  "openSystemLibrary loads none from the current folder (needs cc)",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "nbdkit-library-"));
    try {
      const source = join(folder, "planted.c");
      writeFileSync(source, "int planted (void); int planted (void) { return 1; }\n");
      cpSync(await compileModule(source), join(folder, "libnbdkit-planted.so"));
      const file = join(import.meta.dir, "system-library.ts");
      const wanted = '"libnbdkit-planted.so", { planted: { returns: "i32" } }';
      const load = (from: string, name: string) =>
        run(
          [process.execPath, "-e", `import { ${name} as load } from "${from}"; load(${wanted});`],
          {
            cwd: folder,
          },
        );
      expect(await load("bun:ffi", "dlopen")).toMatchObject({ code: 0 });
      expect(await load(file, "openSystemLibrary")).toMatchObject({
        code: 1,
        stderr: expect.stringContaining("cannot open shared object file"),
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

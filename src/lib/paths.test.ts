/** Tests of paths from the command line. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { absolutePath, realPath } from "./paths.ts";
import { filePath } from "./text-bytes.ts";

let folder = "";
beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "nbdkit-paths-")));
  mkdirSync(`${folder}/a/b`, { recursive: true });
  symlinkSync("a/b", `${folder}/link`);
  mkdirSync(filePath(`${folder}/odd\udce9`));
});
afterAll(() => rmSync(folder, { recursive: true }));

test("absolutePath returns an absolute path unchanged, including dots and links", () => {
  for (const path of ["/", "/a/../b", "//x/./y/", "/\udce9"]) expect(absolutePath(path)).toBe(path);
});

test("absolutePath prepends the current folder to a relative path, and keeps links", () => {
  const before = process.cwd();
  try {
    process.chdir(folder);
    expect(absolutePath("link/../x\udce9")).toBe(`${folder}/link/../x\udce9`);
    process.chdir("/");
    expect(absolutePath("./x")).toBe("/./x");
  } finally {
    process.chdir(before);
  }
});

test("realPath follows a link before the .. after it", () => {
  expect(realPath(`${folder}/link/..`)).toBe(`${folder}/a`);
  expect(realPath(`${folder}/link/../../odd\udce9/.`)).toBe(`${folder}/odd\udce9`);
  expect(() => realPath(`${folder}/none`)).toThrow("ENOENT");
});

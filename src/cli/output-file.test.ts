/** The pid file and the log in a folder where another user has created symbolic links. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { lchownSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { program, run } from "#test/server";

const isRoot = process.getuid?.() === 0;

let folder = "";
let target = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-output-"));
  target = join(folder, "target");
});
afterAll(() => rmSync(folder, { recursive: true }));

function linkOf(user: number): string {
  const link = join(folder, `link-${user}`);
  rmSync(link, { force: true });
  symlinkSync(target, link);
  lchownSync(link, user, user);
  return link;
}

describe.each([
  ["-P", (path: string) => ["-P", path], (path: string) => `cannot write the pid file ${path}`],
  [
    "--log",
    (path: string) => [`--log=${path}`],
    (path: string) => `option --log: cannot write to ${path}`,
  ],
] as const)("%s", (_, option, problem) => {
  const start = (path: string) =>
    run([...program, "-U", "-", ...option(path), "null", "--run", "true"]);

  test.skipIf(!isRoot)("does not follow the link of another user (needs root)", async () => {
    writeFileSync(target, "as it was");
    const link = linkOf(65_534);
    expect(await start(link)).toEqual({
      code: 1,
      stdout: "",
      stderr: `nbdkit: error: ${problem(link)}: a symbolic link of another user (65534) is not followed\n`,
    });
    expect(readFileSync(target, "utf8")).toBe("as it was");
  });

  test("follows a link of the server's own user", async () => {
    writeFileSync(target, "");
    const link = linkOf(process.getuid?.() ?? 0);
    expect(await start(link)).toEqual({ code: 0, stdout: "", stderr: "" });
    if (option(link)[0] === "-P") expect(readFileSync(target, "utf8")).toMatch(/^\d+\n$/);
  });
});

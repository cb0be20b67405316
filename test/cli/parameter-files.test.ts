/** Files of parameters: their lines, files that they include, and files that are refused. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { bytesOf } from "#lib/text-bytes";
import { installed, program, run } from "#test/server";

import { parseParameters } from "../../src/cli/parameters.ts";
import { Folder } from "./daemon-fixture.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-parameters-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Writes the file and returns the argument that names it. */
function file(name: string, text: string): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytesOf(text));
  return `@${path}`;
}

const parsed = (words: readonly string[], magic: string | undefined = "main") =>
  parseParameters(words, magic).map((pair) => pair.join("|"));

describe("a file of parameters", () => {
  test.each([
    ["a=1\nb=2\n", ["a|1", "b|2"]],
    ["a=1", ["a|1"]],
    ["", []],
    ["\n# a=1\n  # b=2\n \t\nc=3\n\n", ["c|3"]],
    ["a=1 # no comment\n", ["a|1 # no comment"]],
    [" a=1 \nb=2\r\n", ["main| a=1 ", "b|2\r"]],
    ["a=b=c\n=x\n-f\n@word\n", ["a|b=c", "main|=x", "main|-f", "main|@word"]],
    ["a=\udce9\n", ["a|\udce9"]],
  ])("with the content %j gives %j", (text, pairs) => {
    expect(parsed([file("lines", text)])).toEqual(pairs);
  });

  test("is read in its place among the arguments", () => {
    const words = ["a=1", file("first", "b=2\nc=3\n"), "d=4", file("second", "e=5\n")];
    expect(parsed(words)).toEqual(["a|1", "b|2", "c|3", "d|4", "e|5"]);
  });

  test("may begin with the script of a plugin without a main parameter", () => {
    expect(parseParameters([file("script", "#\n/x/disk.sh\na=1\n")], undefined)).toEqual([
      ["script", "/x/disk.sh"],
      ["a", "1"],
    ]);
    const word = file("late", "\na=1\n/x/disk.sh\n");
    expect(() => parseParameters([word], undefined)).toThrow(
      `${word.slice(1)}:3: expecting key=value but got: /x/disk.sh`,
    );
  });

  test("must not contain a NUL", () => {
    const word = file("zero", "a=1\nb=2\0c\n");
    expect(() => parsed([word])).toThrow(`${word.slice(1)}:2: expected text, but there is a NUL`);
  });

  test("includes files by paths relative to its own folder, or by absolute paths", () => {
    file("deep/inner/last", "c=3\n");
    file("deep/more", `b=2\n@inner/last\n@./inner/last\n`);
    const word = file("top", `a=1\n@deep/more\n@${folder}/deep/inner/last\nd=4\n`);
    expect(parsed([word])).toEqual(["a|1", "b|2", "c|3", "c|3", "c|3", "d|4"]);
  });

  test("must not include itself", () => {
    file("ring/two", "# back\n@./../ring/one\n");
    const word = file("ring/one", "@./two\n");
    expect(() => parsed([word])).toThrow(
      `${folder}/ring/./two:2: @${folder}/ring/././../ring/one: the file includes itself`,
    );
  });

  test("is named with its line if an included file cannot be read", () => {
    const word = file("dangling", "a=1\n@./gone\n");
    expect(() => parsed([word])).toThrow(
      new RegExp(
        `^${folder}/dangling:2: cannot read parameters from @${folder}/\\./gone: No such file or directory$`,
      ),
    );
  });
});

test("@ in a value, or without a slash, names no file", () => {
  expect(parsed(["a=@./b", "@b"])).toEqual(["a|@./b", "main|@b"]);
});

describe("the server", () => {
  test.skipIf(!installed("nbdinfo"))(
    "reads parameters from a file in the current folder and from a pipe (needs nbdinfo)",
    async () => {
      file("size", "# the disk\nsize=3M\n");
      const command = ["--run", 'nbdinfo --size "$uri"'];
      const read = await run([...program, "null", "@./size", ...command], { cwd: folder });
      expect(read).toEqual({ code: 0, stdout: "3145728\n", stderr: "" });
      const piped = await run([...program, "null", "@/dev/stdin", ...command], {
        stdin: "size=4M\n",
      });
      expect(piped).toEqual({ code: 0, stdout: "4194304\n", stderr: "" });
    },
  );

  test("reads parameters from a file before it goes into the background", async () => {
    using started = new Folder();
    writeFileSync(started.file("parameters"), "no-such=1\n");
    const wrong = await run([...program, "-U", "sock", "null", "@./parameters"], {
      cwd: started.path,
    });
    expect({ code: wrong.code, named: wrong.stderr.includes("no-such") }).toEqual({
      code: 1,
      named: true,
    });
    writeFileSync(started.file("parameters"), "size=3M\n");
    await using daemon = await started.daemon(["-U", "sock", "null", "@./parameters"]);
    expect(daemon.ran).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test.each([
    ["@./gone", "@FOLDER/./gone: No such file or directory"],
    ["@./", "@FOLDER/./: Is a directory"],
  ])("reports that %s cannot be read", async (word, expected) => {
    const { code, stdout, stderr } = await run([...program, "null", word, "--run", "true"], {
      cwd: folder,
    });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toStartWith(
      `nbdkit: error: cannot read parameters from ${expected.replace("FOLDER", folder)}`,
    );
  });
});

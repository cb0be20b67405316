/** The examples in the manuals for authors: each compiles, loads, and serves a client. */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { installed, program, run, serve } from "#test/server";
import { shellCommand } from "#test/shell";

// Compilers are slow on a busy machine.
setDefaultTimeout(60_000);

const root = join(import.meta.dirname, "../..");
const manuals = [
  "README.md",
  "docs/nbdkit-filter.md",
  "docs/nbdkit-functions.md",
  "docs/nbdkit-plugin.md",
];
const folder = mkdtempSync(join(tmpdir(), "nbdkit-examples-"));
afterAll(() => rmSync(folder, { recursive: true }));

interface Example {
  readonly language: string;
  readonly code: string;
  /** The module's name. */
  readonly name: string;
  readonly kind: "filter" | "plugin" | "test";
  /** The parameters of the command line, from the comment before the code. */
  readonly parameters: readonly string[];
}

/** All blocks of code with a language. The others are declarations and commands. */
const examples: readonly Example[] = manuals.flatMap((manual) => {
  const text = readFileSync(join(root, manual), "utf8");
  const blocks = text.matchAll(/(?:<!-- parameters: (.*) -->\n\n)?^```(c|cpp|ts)\n([^]*?)^```$/gm);
  return [...blocks].map(([, parameters, language = "", code = ""]): Example => {
    const kind = code.includes("bun:test")
      ? "test"
      : /FILTER|defineFilter/.test(code)
        ? "filter"
        : "plugin";
    const name = /\bname\s*[:=]\s*"([a-z-]+)"/.exec(code)?.[1] ?? "";
    return { language, code, name, kind, parameters: parameters?.split(" ") ?? [] };
  });
});

/** The path of a module that the server can load. */
async function built({ language, code, name, kind }: Example): Promise<string> {
  const source = join(folder, `${name}-${kind}.${language}`);
  writeFileSync(source, code);
  if (language === "ts") return source;
  const defines = { NBDKIT_FILTER_RELEASE_DEFAULT: "NBDKIT_FILTER_RELEASE_1_44" };
  if (language === "c") return compileModule(source, { defines });
  const target = join(folder, `${name}.so`);
  const flags = ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-I", "include"];
  const made = await run(["c++", ...flags, "-o", target, source], { cwd: root });
  expect(made).toEqual({ code: 0, stdout: "", stderr: "" });
  return target;
}

/** The compilers of the languages. */
const compilers: Readonly<Record<string, string>> = { c: "cc", cpp: "c++" };

const EPERM = 1;
/** What a client gets: the size, the first byte, and the error of a write of the last 512 bytes. */
const found: Readonly<
  Record<string, { size: bigint; first: number; write: number | "read-only" }>
> = {
  "c plugin ones": { size: 1048576n, first: 0xff, write: "read-only" },
  "c plugin fill": { size: 65536n, first: 7, write: "read-only" },
  "c filter half": { size: 524288n, first: 0, write: 0 },
  "c filter guard": { size: 1048576n, first: 0, write: EPERM },
  "cpp plugin hello": { size: 65536n, first: 0x48, write: "read-only" },
  "c filter skip": { size: 983040n, first: 0, write: "read-only" },
  "ts plugin ones": { size: 1048576n, first: 0xff, write: "read-only" },
  "ts plugin tiny": { size: 1048576n, first: 0, write: 0 },
  "ts plugin two-disks": { size: 65536n, first: 0, write: "read-only" },
  "ts filter no-zeroing": { size: 1048576n, first: 0, write: 0 },
  "ts filter limit": { size: 65536n, first: 0, write: 0 },
  "ts filter invert": { size: 1048576n, first: 0xff, write: 0 },
  "ts filter skip": { size: 1048064n, first: 0, write: 0 },
};
const titleOf = ({ language, kind, name }: Example) => `${language} ${kind} ${name}`;
const modules = examples.filter(({ kind }) => kind !== "test");

test("every example has its expected results here", () => {
  expect(modules.map(titleOf).toSorted()).toEqual(Object.keys(found).toSorted());
});

describe("a client gets the expected results from", () => {
  for (const example of modules) {
    const title = titleOf(example);
    const compiler = compilers[example.language];
    const needs = compiler === undefined ? "" : ` (needs ${compiler})`;
    const lacks = compiler !== undefined && !installed(compiler);
    test.skipIf(lacks)(`${title}${needs}`, async () => {
      const path = await built(example);
      const chain = example.kind === "plugin" ? [path] : [`--filter=${path}`, "memory", "1M"];
      await using server = await serve([...chain, ...example.parameters]);
      const { client, export: disk } = await NbdClient.ready({ unix: server.socket });
      await using connection = client;
      const first = (await connection.ask({ type: 0, count: 512, offset: 0n })).data[0];
      const at = disk.size - 512n;
      const payload = new Uint8Array(512).fill(0x5a);
      const readOnly = (disk.eflags & 2) !== 0;
      const write = readOnly
        ? "read-only"
        : (await connection.ask({ type: 1, payload, offset: at })).error;
      expect({ size: disk.size, first, write }).toEqual(found[title] as never);
      if (write === 0) {
        const { data } = await connection.ask({ type: 0, count: 512, offset: at });
        expect(data).toEqual(payload);
      }
      await connection[Symbol.asyncDispose]();
      expect((await server.stop()).code).toBe(0);
    });
  }
});

test.skipIf(!installed("nbdinfo") || !haveCompiler)(
  "the examples with extents report and move holes (needs nbdinfo and cc)",
  async () => {
    for (const [title, map] of [
      ["c filter skip", "0 983040 3 hole,zero"],
      ["ts plugin tiny", "0 1048576 3 hole,zero"],
      ["ts filter invert", "0 1048576 0 data"],
      ["ts filter skip", "0 1048064 3 hole,zero"],
    ] as const) {
      const example = modules.find((it) => titleOf(it) === title);
      if (example === undefined) throw new Error(`no example ${title}`);
      const path = await built(example);
      const chain = example.kind === "plugin" ? [path] : [`--filter=${path}`, "memory", "1M"];
      await using server = await serve([...chain, ...example.parameters]);
      const { stdout, stderr } = await run(["nbdinfo", "--map", server.uri]);
      const printed = stdout.trim().replaceAll(/ +/g, " ");
      expect({ title, printed, stderr }).toEqual({ title, printed: map, stderr: "" });
    }
  },
);

test.skipIf(!installed("nbdinfo"))(
  "the example of a test passes in `bun test` (needs nbdinfo)",
  async () => {
    const [example] = examples.filter(({ kind }) => kind === "test");
    const ones = modules.find(({ language, name }) => language === "ts" && name === "ones");
    const place = mkdtempSync(join(folder, "test-"));
    writeFileSync(join(place, "ones.test.ts"), example?.code ?? "");
    writeFileSync(join(place, "ones.ts"), ones?.code ?? "");
    const script = `#!/bin/sh\nexec ${shellCommand(program)} "$@"\n`;
    writeFileSync(join(place, "nbdkit"), script, { mode: 0o755 });
    symlinkSync(process.execPath, join(place, "bun"));
    const env = { PATH: `${place}:${process.env["PATH"] ?? ""}` };
    const { code, stderr } = await run(["bun", "test"], { cwd: place, env });
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: expect.stringContaining(" 1 pass\n 0 fail"),
    });
  },
);

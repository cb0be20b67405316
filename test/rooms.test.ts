/** Every import in src and abi goes down: ARCHITECTURE.md, "Rooms". */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { importCircles, importsUpward, readImports, roomOf, rooms } from "#test/rooms";

import manifest from "../package.json" with { type: "json" };

const root = join(import.meta.dirname, "..");

/** The server's code, without its tests and what only they use. */
const paths = [...new Bun.Glob("{src,abi}/**/*.ts").scanSync(root)].filter(
  (path) => !/(\.test|-fixture)\.ts$/.test(path),
);
const imports = readImports(
  new Map(paths.map((path) => [path, readFileSync(join(root, path), "utf8")])),
  manifest.imports,
);

test("every file is in a room", () => {
  expect(paths.length).toBeGreaterThan(150);
  expect(paths.filter((path) => roomOf(path) === -1)).toEqual([]);
});

test("files import their own room and lower ones", () => {
  expect(importsUpward(imports)).toEqual([]);
});

test("no files import one another in a circle, not even for types", () => {
  expect(importCircles(imports)).toEqual([]);
});

test("relative and aliased imports lead to files that are there", () => {
  const known = new Set([...paths, "package.json"]);
  const targets = [...imports.values()].flat();
  const lost = targets.filter((path) => /^(src|abi)\//.test(path) && !known.has(path));
  expect(lost).toEqual([]);
});

test("only abi and src/sys import bun:ffi", () => {
  const importers = [...imports].filter(([, imported]) => imported.includes("bun:ffi"));
  const elsewhere = importers
    .map(([path]) => path)
    .filter((path) => !/^(abi|src\/sys)\//.test(path));
  expect(importers.length).toBeGreaterThan(10);
  expect(elsewhere).toEqual([]);
});

test("ARCHITECTURE.md lists the rooms in this order", () => {
  const text = readFileSync(join(root, "ARCHITECTURE.md"), "utf8");
  const listed = [...text.matchAll(/^\| `((?:src|abi)\/[a-z]+)` \|/gm)].map(([, room]) => room);
  expect(listed).toEqual([...rooms].toReversed());
});

describe("the check itself", () => {
  const aliases = { "#api": "./src/api/index.ts", "#chain/*": "./src/chain/*.ts" };
  const check = (path: string, text: string) =>
    importsUpward(readImports(new Map([[path, text]]), aliases));

  test.each([
    'import { a } from "../chain/a.ts";',
    'import type { A } from "../chain/a.ts";',
    'import { type A } from "#chain/a";',
    'export { a } from "#chain/a";',
    'export * from "#chain/a";',
    'const a = await import("../chain/a.ts");',
    'let a: import("../chain/a.ts").A;',
    'import "../chain/a.ts";',
  ])("finds %s in a lower room", (text) => {
    expect(check("src/lib/b.ts", text)).toEqual(["src/lib/b.ts imports src/chain/a.ts"]);
  });

  test("finds circles of two files and more", () => {
    const files = (entries: Record<string, string[]>) =>
      importCircles(new Map(Object.entries(entries)));
    expect(files({ a: ["b"], b: ["a"], c: ["a"] })).toEqual([["a", "b"]]);
    expect(files({ a: ["b"], b: ["c"], c: ["d", "a"], d: [] })).toEqual([["a", "b", "c"]]);
    expect(files({ a: ["b", "c"], b: ["d"], c: ["d"], d: ["bun:ffi"] })).toEqual([]);
  });

  test.each([
    'import { a } from "../lib/a.ts";',
    'import { a } from "./a.ts";',
    'import { a } from "#api";',
    'import { a } from "node:fs";',
    '// import { a } from "../cli/a.ts";',
  ])("accepts %s", (text) => {
    expect(check("src/chain/b.ts", text)).toEqual([]);
  });
});

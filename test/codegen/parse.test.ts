/** Golden cases of the header reader: cases/accepted/*.h give a model, cases/refused/*.h an error and its place. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";

import type { CType, Location, Unit } from "../../codegen/ir.ts";
import { layoutOf } from "../../codegen/layout.ts";
import { integerOf } from "../../codegen/model.ts";
import { scanMacros } from "../../codegen/parse/constants.ts";
import { parseUnit } from "../../codegen/parse/declarations.ts";
import { preprocess } from "../../codegen/parse/preprocess.ts";
import { cases, expectGolden, hasCompiler, needsCompiler } from "./compiler-fixture.ts";

// Compilers are slow on a busy machine.
setDefaultTimeout(60_000);

const headersIn = (folder: string) =>
  readdirSync(join(cases, folder))
    .filter((name) => name.endsWith(".h"))
    .map((name) => name.slice(0, -2));

async function parse(folder: string, name: string): Promise<Unit> {
  const tree = { root: cases, folders: [folder] };
  return parseUnit(await preprocess(tree, { header: `${name}.h`, define: {} }));
}

/** The model in short form: types as words, places as FILE:LINE:COLUMN. */
function modelText(unit: Unit): string {
  const lines: string[] = [];
  for (const struct of unit.structs.values()) {
    const layout = layoutOf(struct, unit);
    lines.push(`struct ${struct.name}: ${layout.size} bytes, ${place(struct.at)}`);
    for (const [index, field] of struct.fields.entries()) {
      const { offset, size, kind } = layout.fields[index] ?? { offset: -1, size: -1, kind: "" };
      lines.push(`  ${offset}+${size} ${kind} ${field.name}, ${place(field.at)}`);
      lines.push(`    ${field.text}`, `    ${words(field.type)}`);
    }
  }
  for (const union of unit.unions.values()) {
    lines.push(`union ${union.name}, ${place(union.at)}`);
    for (const { text, type } of union.fields) lines.push(`  ${text}`, `    ${words(type)}`);
  }
  const declarations = [
    ["type", unit.functionTypes],
    ["function", unit.functions],
  ] as const;
  for (const [what, list] of declarations) {
    for (const { name, text, at, signature } of list.values()) {
      lines.push(`${what} ${name}, ${place(at)}`);
      lines.push(`  ${text}`, `  ${words({ kind: "function", signature })}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

function place({ file, line, column }: Location): string {
  return `${file}:${line}:${column}`;
}

function words(type: CType): string {
  switch (type.kind) {
    case "pointer":
      return `pointer to ${type.constant ? "constant " : ""}${words(type.to)}`;
    case "function": {
      const { parameters, returns, variadic } = type.signature;
      const list = parameters.map((parameter) => `${parameter.name}: ${words(parameter.type)}`);
      return `function (${[...list, ...(variadic ? ["..."] : [])].join(", ")}) of ${words(returns)}`;
    }
    case "struct":
    case "union":
    case "named":
      return `${type.kind} ${type.name}`;
    case "integer":
      return type.name;
    default:
      return type.kind;
  }
}

describe.skipIf(!hasCompiler)(`header reader${needsCompiler}`, () => {
  test.each(headersIn("accepted"))("reads cases/accepted/%s.h", async (name) => {
    expectGolden(`accepted/${name}.txt`, modelText(await parse("accepted", name)));
  });

  test.each(headersIn("refused"))(
    "refuses cases/refused/%s.h and names the place",
    async (name) => {
      const refusal = await parse("refused", name)
        .then((unit) => modelText(unit))
        .catch((error: Error) => error.message);
      expectGolden(`refused/${name}.txt`, `${refusal}\n`);
    },
  );
});

describe("macro scanner", () => {
  test("computes integers, and keeps only the names of other macros", async () => {
    const macros = await scanMacros({ root: cases, folders: [] }, "accepted/macros.h");
    expect(macros.map(({ name, value, at }) => [name, value, at.line, at.column])).toEqual([
      ["TEN", 10, 3, 9],
      ["MARKER", 0x4e42, 4, 9],
      ["BIT", 8, 5, 9],
      ["TEXT", undefined, 6, 9],
      ["CALL", undefined, 7, 9],
      ["INDENTED", 1, 9, 11],
    ]);
  });

  test("keeps only the name of a constant that has two values", async () => {
    const macros = await scanMacros({ root: cases, folders: [] }, "refused/two-values.h");
    const limit = macros.find(({ name }) => name === "LIMIT");
    expect([limit?.value, limit?.at.line, limit?.differs?.line]).toEqual([undefined, 3, 5]);
    expect(() => limit && integerOf(limit)).toThrow(
      "refused/two-values.h:5:9: LIMIT has another value in line 3",
    );
  });
});

/** Emits symbols.gen.ts: the runtime's functions for bun:ffi, and the names that modules may import. */
import type { SourceFile } from "ts-morph";

import { functions } from "../functions.ts";
import {
  type CType,
  type FunctionDeclaration,
  integers,
  type Signature,
  SourceError,
} from "../ir.ts";
import { exportedFunctions, headers, type Model } from "../model.ts";
import type { GeneratedFile } from "../output.ts";
import { addConstant, objectText, typescriptFile } from "./typescript.ts";

export function emitSymbols(model: Model): GeneratedFile {
  return typescriptFile(
    "symbols.gen.ts",
    [headers.runtime, headers.common, headers.filter],
    (file) => {
      const declarations = [...model.runtime.functions.values()];
      const what = "What abi/runtime/runtime.h declares.";
      addSymbols(file, "runtimeSymbols", declarations, what);
      addCallbacks(file, "runtimeCallbacks", declarations);
      const exported = exportedFunctions(model).map(({ name, text }) => {
        const about = functions[name] ?? "";
        return `  // ${text}${about === "" ? "" : `: ${about}`}\n  "${name}",\n`;
      });
      addConstant(
        file,
        "exportedFunctions",
        `[\n${exported.join("")}] as const`,
        "What the headers promise to modules; the runtime exports it. Of what changed: the newest form.",
      );
    },
  );
}

/** A table of functions for dlopen of bun:ffi. */
export function addSymbols(
  file: SourceFile,
  name: string,
  declarations: readonly FunctionDeclaration[],
  about: string,
): void {
  const rows = declarations.map(
    (declaration) => [declaration.name, symbolText(declaration, declaration.signature)] as const,
  );
  addTable(file, name, rows, about);
}

/** A table for JSCallback of the functions that are passed to C, by the names of the parameters. */
export function addCallbacks(
  file: SourceFile,
  name: string,
  declarations: readonly FunctionDeclaration[],
): void {
  const rows = declarations.flatMap((declaration) =>
    declaration.signature.parameters.flatMap(({ name: parameter, type }) =>
      type.kind === "pointer" && type.to.kind === "function"
        ? [[parameter, symbolText(declaration, type.to.signature)] as const]
        : [],
    ),
  );
  if (rows.length > 0) addTable(file, name, rows, "Functions that are passed to these.");
}

function addTable(
  file: SourceFile,
  name: string,
  rows: readonly (readonly [string, string])[],
  about: string,
): void {
  const text = objectText(rows);
  if (text.includes("FFIType.") && file.getImportDeclaration("bun:ffi") === undefined) {
    file.addImportDeclaration({ moduleSpecifier: "bun:ffi", namedImports: ["FFIType"] });
  }
  addConstant(file, name, `${text} as const`, about);
}

function symbolText(declaration: FunctionDeclaration, signature: Signature): string {
  const { parameters, returns, variadic } = signature;
  if (variadic) {
    const remedy = "bun:ffi cannot call it; declare a function with fixed parameters";
    throw new SourceError(declaration.at, `${declaration.name} is variadic`, remedy);
  }
  const args = parameters.map(({ type }) => word(argument(type, declaration))).join(", ");
  const result = returns.kind === "pointer" ? "ptr" : argument(returns, declaration);
  return `{ args: [${args}], returns: ${word(result)} }`;
}

/** The types of bun:ffi lack the names of the fast types, which give a bigint only if a number is not exact. */
function word(type: string): string {
  return type.endsWith("_fast") ? `FFIType.${type}` : `"${type}"`;
}

function argument(type: CType, { name, at }: FunctionDeclaration): string {
  switch (type.kind) {
    case "void":
      return "void";
    case "integer":
      return integers[type.name].ffi;
    case "pointer":
      return type.to.kind === "char" && type.constant ? "cstring" : "ptr";
    default:
      throw new SourceError(at, `${name} passes a ${type.kind}`, "pass an integer or a pointer");
  }
}

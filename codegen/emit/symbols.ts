/** Emits symbols.gen.ts: the runtime's functions for bun:ffi, and the names that modules may import. */
import { functions } from "../functions.ts";
import { type CType, type FunctionDeclaration, integers, SourceError } from "../ir.ts";
import { exportedFunctions, headers, type Model } from "../model.ts";
import type { GeneratedFile } from "../output.ts";
import { addConstant, objectText, typescriptFile } from "./typescript.ts";

export function emitSymbols(model: Model): GeneratedFile {
  return typescriptFile(
    "symbols.gen.ts",
    [headers.runtime, headers.common, headers.filter],
    (file) => {
      const rows = [...model.runtime.functions.values()].map(
        (declaration) => [declaration.name, symbolText(declaration)] as const,
      );
      const symbols = `${objectText(rows)} as const`;
      addConstant(file, "runtimeSymbols", symbols, "What abi/runtime/runtime.h declares.");
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

function symbolText(declaration: FunctionDeclaration): string {
  const { parameters, returns, variadic } = declaration.signature;
  if (variadic) {
    const remedy = "bun:ffi cannot call it; declare a function with fixed parameters";
    throw new SourceError(declaration.at, `${declaration.name} is variadic`, remedy);
  }
  const args = parameters.map(({ type }) => `"${argument(type, declaration)}"`).join(", ");
  const result = returns.kind === "pointer" ? "ptr" : argument(returns, declaration);
  return `{ args: [${args}], returns: "${result}" }`;
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

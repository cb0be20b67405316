/** The common part of the emitters of TypeScript: a ts-morph file to fill, and its text. */
import {
  IndentationText,
  Project,
  QuoteKind,
  type SourceFile,
  VariableDeclarationKind,
} from "ts-morph";

import { banner, type GeneratedFile } from "../output.ts";

const project = new Project({
  useInMemoryFileSystem: true,
  manipulationSettings: {
    indentationText: IndentationText.TwoSpaces,
    quoteKind: QuoteKind.Double,
    useTrailingCommas: true,
  },
});

/** One generated file; `fill` adds its statements. */
export function typescriptFile(
  path: string,
  inputs: readonly string[],
  fill: (file: SourceFile) => void,
): GeneratedFile {
  const file = project.createSourceFile(path, "", { overwrite: true });
  fill(file);
  file.formatText({ indentSize: 2 });
  return { path, text: banner(inputs) + file.getFullText() };
}

/** `export const NAME = VALUE;` with its documentation. */
export function addConstant(file: SourceFile, name: string, value: string, about?: string): void {
  file.addVariableStatement({
    isExported: true,
    declarationKind: VariableDeclarationKind.Const,
    declarations: [{ name, initializer: value }],
    docs: about === undefined ? [] : [about],
  });
}

/** `{ a: 1, b: 2 }` over several lines; the values are source text. */
export function objectText(
  entries: Iterable<readonly [key: string, value: string]>,
  indent = "",
): string {
  const lines = [...entries].map(([key, value]) => `${indent}  ${key}: ${value},\n`);
  return `{\n${lines.join("")}${indent}}`;
}

/** Runs the C preprocessor over a header, and keeps the project's lines, each with its place. */
import { join } from "node:path";

import type { Location } from "../ir.ts";

/** The header to read, and the macros that choose its form. */
export interface Choice {
  readonly header: string;
  readonly define: Readonly<Record<string, string>>;
}

/** The folders of headers, relative to `root`, so that no absolute path gets into the output. */
export interface Tree {
  readonly root: string;
  readonly folders: readonly string[];
}

export interface Preprocessed {
  readonly text: string;
  /** The place in the header of a position in `text`, whose row and column count from 0. `token` is the text there. */
  locate(row: number, column: number, token: string): Location;
}

interface Line {
  readonly text: string;
  readonly file: string;
  readonly line: number;
}

/** Preprocess, and drop the lines of the system's headers, which have absolute paths. */
export async function preprocess(tree: Tree, choice: Choice): Promise<Preprocessed> {
  const output = await runCompiler(tree, choice);
  const lines = ownLines(output);
  const sources = new Map<string, readonly string[]>();
  for (const file of new Set(lines.map((line) => line.file))) {
    sources.set(file, (await Bun.file(join(tree.root, file)).text()).split("\n"));
  }
  return {
    text: lines.map((line) => line.text).join("\n"),
    locate(row, column, token) {
      const line = lines[row];
      if (line === undefined) throw new Error(`row ${row} is beyond the preprocessed text`);
      const source = sources.get(line.file)?.[line.line - 1] ?? line.text;
      // The preprocessor removes spaces and expands macros, so the column in the header may differ.
      const found = source.startsWith(token, column) ? column : source.indexOf(token);
      const indented = source.length - source.trimStart().length;
      return {
        file: line.file,
        line: line.line,
        column: (found < 0 ? indented : found) + 1,
        source,
      };
    },
  };
}

async function runCompiler(tree: Tree, choice: Choice): Promise<string> {
  // CC may be `ccache gcc`.
  const compiler = (process.env["CC"] ?? "").split(/\s+/).filter(Boolean);
  const command = [
    ...(compiler.length > 0 ? compiler : ["cc"]),
    "-E",
    "-std=c11",
    "-xc",
    ...Object.entries(choice.define).map(([name, value]) => `-D${name}=${value}`),
    ...tree.folders.flatMap((folder) => ["-I", folder]),
    "-",
  ];
  const child = Bun.spawn(command, {
    cwd: tree.root,
    stdin: new TextEncoder().encode(`#include <${choice.header}>\n`),
    stderr: "pipe",
  });
  const [output, errors, code] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(`${command.join(" ")}: exit status ${code}\n${errors.trimEnd()}`);
  return output;
}

function ownLines(output: string): Line[] {
  const lines: Line[] = [];
  let file = "";
  let next = 0;
  for (const text of output.split("\n")) {
    const marker = /^# (\d+) "([^"]*)"/.exec(text);
    if (marker !== null) {
      [next, file] = [Number(marker[1]), marker[2] ?? ""];
      continue;
    }
    const own = file !== "" && !/^[/<]/.test(file);
    if (own) lines.push({ text, file, line: next });
    next++;
  }
  return lines;
}

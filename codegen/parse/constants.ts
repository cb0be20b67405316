/** Finds `#define NAME VALUE` in headers, since the preprocessor does not print it, and computes the values. */
import { join } from "node:path";

import type { Location } from "../ir.ts";
import type { Tree } from "./preprocess.ts";

export interface Macro {
  readonly name: string;
  /** Undefined if it is not an integer, or differs by condition. */
  readonly value: number | undefined;
  /** The place of another value, under another condition. */
  readonly differs: Location | undefined;
  readonly at: Location;
}

/** The macros with a body that a header of the project defines, in order. */
export async function scanMacros(tree: Tree, file: string): Promise<Macro[]> {
  const lines = (await Bun.file(join(tree.root, file)).text()).split("\n");
  const macros = new Map<string, Macro>();
  for (const [index, source] of lines.entries()) {
    const match = /^(\s*#\s*define\s+)(\w+)(\([^)]*\))?(.*)$/.exec(source);
    if (match === null) continue;
    const [, before = "", name = "", parameters, rest = ""] = match;
    const body = rest.replaceAll(/\/\*.*?(\*\/|$)/g, "").trim();
    if (body === "" && parameters === undefined) continue;
    const at = { file, line: index + 1, column: before.length + 1, source };
    const value = parameters === undefined ? integer(body) : undefined;
    const earlier = macros.get(name);
    if (earlier === undefined) macros.set(name, { name, value, at, differs: undefined });
    else if (earlier.value !== value)
      macros.set(name, { ...earlier, value: undefined, differs: at });
  }
  return [...macros.values()];
}

/** The value of `12`, `-12`, `0x1f` or `(1 << 3)`. */
function integer(body: string): number | undefined {
  const shift = /^\((\d+) << (\d+)\)$/.exec(body);
  if (shift !== null) return Number(shift[1]) << Number(shift[2]);
  return /^(0|-?[1-9]\d*|0x[0-9a-fA-F]+)$/.test(body) ? Number(body) : undefined;
}

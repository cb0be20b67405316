/** Reads the headers in src/sys, which declare the functions of the system's libraries for the server. */
import type { FunctionDeclaration, Struct, Unit } from "./ir.ts";
import { type Macro, scanMacros } from "./parse/constants.ts";
import { parseUnit } from "./parse/declarations.ts";
import { preprocess } from "./parse/preprocess.ts";

const folder = "src/sys";

/** The headers. Each becomes one file in TypeScript. */
const systemHeaders = ["libc", "gnutls", "gnutls-groups", "selinux"] as const;

export interface SystemHeader {
  readonly name: (typeof systemHeaders)[number];
  /** Relative to the root. */
  readonly path: string;
  /** Its declarations and those of the files that it includes. */
  readonly unit: Unit;
  readonly functions: readonly FunctionDeclaration[];
  readonly structs: readonly Struct[];
  readonly macros: readonly Macro[];
}

/**
 * The headers below `root`. `variadic`: functions that are variadic in C end with `...`, rather than with the arguments
 * that the server passes.
 */
export function readSystem(root: string, variadic = false): Promise<SystemHeader[]> {
  const define = variadic ? { "SYS_REST(...)": "..." } : {};
  const tree = { root, folders: [folder] };
  return Promise.all(
    systemHeaders.map(async (name) => {
      const path = `${folder}/${name}.h`;
      const unit = await parseUnit(await preprocess(tree, { header: `${name}.h`, define }));
      const own = <T extends Struct | FunctionDeclaration>(all: ReadonlyMap<string, T>) =>
        [...all.values()].filter(({ at }) => at.file === path);
      const macros = (await scanMacros(tree, path)).filter((macro) => macro.name !== "SYS_REST");
      return {
        name,
        path,
        unit,
        functions: own(unit.functions),
        structs: own(unit.structs),
        macros,
      };
    }),
  );
}

/** Emits a file for each header in src/sys: functions for bun:ffi, constants, sizes of structs and their offsets. */
import { layoutOf } from "../layout.ts";
import type { GeneratedFile } from "../output.ts";
import type { SystemHeader } from "../system.ts";
import { valueOf } from "./constants.ts";
import { addCallbacks, addSymbols } from "./symbols.ts";
import { addConstant, objectText, typescriptFile } from "./typescript.ts";

export function emitSystem(header: SystemHeader): GeneratedFile {
  const { name, path, unit, functions, macros } = header;
  return typescriptFile(`${name}.gen.ts`, [path], (file) => {
    addSymbols(file, "symbols", functions, `What ${path} declares.`);
    addCallbacks(file, "callbacks", functions);
    for (const macro of macros) addConstant(file, macro.name, valueOf(macro));
    if (header.structs.length === 0) return;
    const layouts = header.structs.map((struct) => [struct.name, layoutOf(struct, unit)] as const);
    const sizes = layouts.map(([struct, { size }]) => [struct, String(size)] as const);
    addConstant(file, "sizeOf", `${objectText(sizes)} as const`, "Bytes of each struct.");
    const offsets = layouts.map(([struct, { fields }]) => {
      const rows = fields.map((field) => [field.name, String(field.offset)] as const);
      return [struct, objectText(rows, "  ")] as const;
    });
    addConstant(
      file,
      "offsetOf",
      `${objectText(offsets)} as const`,
      "Where the fields of each struct are, in bytes.",
    );
  });
}

/** Emits layouts.gen.ts: size, offsets and kinds of every struct in every layout of the filter interface. */
import { structOf, type Unit } from "../ir.ts";
import { layoutOf } from "../layout.ts";
import { headers, type Model } from "../model.ts";
import { layoutName, runtimeName } from "../names.ts";
import type { GeneratedFile } from "../output.ts";
import { data } from "../semantics.ts";
import { addConstant, objectText, typescriptFile } from "./typescript.ts";

/** The structs, each with the name of its layout in TypeScript. */
function layoutNames(
  model: Model,
): (readonly [name: string, struct: string, unit: Unit, where: string])[] {
  return [
    ...model.releases.map(
      ({ id, unit }) =>
        [
          layoutName("filter", id),
          "nbdkit_filter",
          unit,
          `${headers.filter}, layout ${id}`,
        ] as const,
    ),
    ...model.releases.map(
      ({ id, unit }) =>
        [
          layoutName("nextOps", id),
          "nbdkit_next_ops",
          unit,
          `${headers.filter}, layout ${id}`,
        ] as const,
    ),
    ["plugin", "nbdkit_plugin", model.plugin, headers.plugin],
    ...[...model.runtime.structs.keys()].map(
      (struct) => [runtimeName(struct), struct, model.runtime, headers.runtime] as const,
    ),
  ];
}

export function emitLayouts(model: Model): GeneratedFile {
  return typescriptFile("layouts.gen.ts", Object.values(headers), (file) => {
    const kinds = new Set<string>();
    const rows = layoutNames(model).map(([name, structName, unit, where]) => {
      const layout = layoutOf(structOf(unit, structName), unit);
      const fields = layout.fields.map((field) => {
        kinds.add(field.kind);
        const text = `{ offset: ${field.offset}, size: ${field.size}, kind: "${field.kind}" }`;
        const about = data[field.name]?.about;
        const comment =
          about === undefined || unit === model.runtime ? "" : `/** ${about} */\n    `;
        return [`${comment}${field.name}`, text] as const;
      });
      const text = objectText([
        ["size", String(layout.size)],
        ["fields", objectText(fields, "  ")],
      ]);
      return { name, text, about: `struct ${structName} in ${where}.` };
    });
    file.addTypeAlias({
      isExported: true,
      name: "FieldKind",
      type: [...kinds].map((kind) => `"${kind}"`).join(" | "),
      docs: ["What a field is. A string is a `const char *`, a function is a pointer to one."],
    });
    file.addInterface({
      isExported: true,
      name: "FieldLayout",
      docs: ["Bytes from the start of the struct, and bytes of the field, on 64-bit systems."],
      properties: [
        { name: "offset", type: "number", isReadonly: true },
        { name: "size", type: "number", isReadonly: true },
        { name: "kind", type: "FieldKind", isReadonly: true },
      ],
    });
    file.addInterface({
      isExported: true,
      name: "StructLayout",
      properties: [
        { name: "size", type: "number", isReadonly: true },
        { name: "fields", type: "Readonly<Record<string, FieldLayout>>", isReadonly: true },
      ],
    });
    for (const { name, text, about } of rows) {
      addConstant(file, name, `${text} as const satisfies StructLayout`, about);
    }
    const all = `{ ${rows.map(({ name }) => name).join(", ")} }`;
    addConstant(file, "layouts", `${all} as const`, "All of them, by name.");
  });
}

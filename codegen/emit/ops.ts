/** Emits ops.gen.h and ops.gen.ts: the numbers of callbacks, adapters and message kinds. */
import { callbacksOf } from "../ir.ts";
import { headers, type Model } from "../model.ts";
import { adapterMacro, adapterName, opName } from "../names.ts";
import { structsOf } from "../one-to-one.ts";
import { banner, type GeneratedFile } from "../output.ts";
import { otherOps } from "../semantics.ts";
import { valueOf } from "./constants.ts";
import { addConstant, typescriptFile } from "./typescript.ts";

/** The callbacks of all structs, in the order of their numbers, which begin at 1. */
export function opsOf(model: Model): string[] {
  const names = structsOf(model).flatMap(([, struct]) =>
    callbacksOf(struct).map(({ name }) => name),
  );
  return [...new Set(names)];
}

/** The adapters in the order of their numbers. */
export function adaptersOf(model: Model): { readonly macro: string; readonly call: string }[] {
  const filters = model.releases.map(({ id }) => adapterName(id));
  return [...filters, "plugin"].map((name) => ({
    macro: adapterMacro(name),
    call: `rt_${name}_call`,
  }));
}

const inputs = [headers.filter, headers.plugin];

export function emitOpsHeader(model: Model): GeneratedFile {
  const callbacks = opsOf(model);
  const define = (name: string, index: number) => `#define ${opName(name)} ${index + 1}\n`;
  const ops = callbacks.map(define);
  const others = Object.entries(otherOps).map(
    ([name, about], index) => `// ${about}\n${define(name, callbacks.length + index)}`,
  );
  const adapters = adaptersOf(model).map(({ macro }, index) => `#define ${macro} ${index}\n`);
  const text = [
    banner(inputs),
    "#ifndef RT_OPS_GEN_H\n#define RT_OPS_GEN_H\n\n",
    "// The op of a message: the number of a callback. 0 stands for none.\n",
    ...ops,
    "\n// Upcalls other than callbacks.\n",
    ...others,
    '\n// An initializer for an array of the names of callbacks.\n#define RT_OP_NAMES \\\n  { \\\n    "", \\\n',
    ...callbacks.map((name) => `    "${name.replace(/^_(.*)_v1$/, "$1")}", \\\n`),
    "  }\n",
    "\n// The adapters, one for each layout of filters and one for plugins.\n",
    ...adapters,
    "\n#endif\n",
  ];
  return { path: "ops.gen.h", text: text.join("") };
}

export function emitOps(model: Model): GeneratedFile {
  return typescriptFile("ops.gen.ts", [...inputs, headers.runtime], (file) => {
    const ops = opsOf(model);
    for (const [index, name] of ops.entries()) addConstant(file, opName(name), String(index + 1));
    for (const [index, [name, about]] of Object.entries(otherOps).entries()) {
      addConstant(file, opName(name), String(ops.length + index + 1), about);
    }
    for (const [index, { macro }] of adaptersOf(model).entries()) {
      addConstant(file, macro, String(index));
    }
    for (const macro of model.runtimeMacros) {
      addConstant(file, macro.name, valueOf(macro));
    }
  });
}

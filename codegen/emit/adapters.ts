/** Emits the C that calls modules: adapters.gen.h, and a file for each layout and for plugins. */
import { type Callback, callbacksOf, type Parameter, structOf } from "../ir.ts";
import { headers, type Model } from "../model.ts";
import { adapterName, idWord, opName, releaseMacro } from "../names.ts";
import { banner, type GeneratedFile } from "../output.ts";
import { nextFunctions } from "../semantics.ts";
import { adaptersOf } from "./ops.ts";
import {
  argumentField,
  emitTrampolines,
  planTrampolines,
  roleOf,
  type Target,
  type Trampolines,
  typeName,
} from "./trampolines.ts";

const adapterParameters =
  "const void *module, const struct rt_downcall *downcall, struct rt_result *result";

function targetsOf(model: Model): Target[] {
  const filters = model.releases.map(({ id, unit }) => ({
    name: adapterName(id),
    struct: "nbdkit_filter",
    unit,
    header: headers.filter,
    choice: `#define NBDKIT_FILTER_RELEASE ${releaseMacro(id)}\n#define NBDKIT_API_VERSION 2\n`,
    suffix: `_${idWord(id)}`,
  }));
  const plugin = {
    name: "plugin",
    struct: "nbdkit_plugin",
    unit: model.plugin,
    header: headers.plugin,
    choice: "#define NBDKIT_API_VERSION 2\n",
    suffix: "",
  };
  return [...filters, plugin];
}

/** All generated files in C but ops.gen.h. */
export function emitAdapters(model: Model): GeneratedFile[] {
  const targets = targetsOf(model);
  const plan = planTrampolines(targets.filter(isFilter));
  return [
    emitHeader(model, targets),
    ...targets.map((target) => ({
      path: `${target.name.replaceAll("_", "-")}.gen.c`,
      text: adapterText(target, plan),
    })),
  ];
}

function emitHeader(model: Model, targets: readonly Target[]): GeneratedFile {
  const adapters = adaptersOf(model);
  const filters = targets.filter(isFilter);
  const rows = filters.map(({ name }) => {
    const adapter = adapters.find(({ call }) => call === `rt_${name}_call`);
    return `  [${adapter?.macro}] = &rt_next_table_${name},\n`;
  });
  const text = [
    banner([headers.filter, headers.plugin]),
    "#ifndef RT_ADAPTERS_GEN_H\n#define RT_ADAPTERS_GEN_H\n\n",
    '#include <stddef.h>\n\n#include "ops.gen.h"\n#include "runtime.h"\n\n',
    "// Calls the callback of downcall->op, and puts its return value and outputs into the result.\n",
    `typedef void (*rt_adapter) (${adapterParameters});\n\n`,
    ...adapters.map(({ call }) => `void ${call} (${adapterParameters});\n`),
    "\n// A layout's struct nbdkit_next_ops, with functions that call rt_upcall.\n",
    "struct rt_next_table {\n  const void *functions;\n  size_t size;\n",
    "  uint32_t release; // NBDKIT_FILTER_RELEASE_*\n  size_t extents; // offset of that function; 0: absent\n};\n",
    ...filters.map(({ name }) => `extern const struct rt_next_table rt_next_table_${name};\n`),
    "\nstatic const rt_adapter rt_adapters[] = {\n",
    ...adapters.map(({ macro, call }) => `  [${macro}] = ${call},\n`),
    "};\n\n// By adapter. Plugins have none.\n",
    `static const struct rt_next_table *const rt_next_tables[${adapters.length}] = {\n`,
    ...rows,
    "};\n\n#endif\n",
  ];
  return { path: "adapters.gen.h", text: text.join("") };
}

function isFilter({ struct }: Target): boolean {
  return struct === "nbdkit_filter";
}

function adapterText(target: Target, plan: Trampolines): string {
  const includes = [
    target.header.replace("include/", ""),
    "adapters.gen.h",
    "internal.h",
    "ops.gen.h",
  ];
  return [
    banner([target.header]),
    `${target.choice}\n#include <errno.h>\n#include <stddef.h>\n#include <stdint.h>\n\n`,
    ...[...includes, "runtime.h"].map((file) => `#include "${file}"\n`),
    ...(isFilter(target) ? emitTrampolines(target, plan) : []),
    downcalls(target, plan),
  ].join("");
}

// The switch of downcalls.

function downcalls(target: Target, plan: Trampolines): string {
  const list = callbacksOf(structOf(target.unit, target.struct));
  const cases = list.map((callback) => downcall(target, plan, callback));
  const hasErr = list.some(({ signature }) => signature.parameters.some(isErr));
  const err = hasErr ? "  int err = 0;\n" : "";
  return [
    `\nvoid rt_${target.name}_call (${adapterParameters})\n{\n`,
    `  const struct ${target.struct} *self = module;\n${err}\n  switch (downcall->op) {\n`,
    ...cases,
    "  default:\n    errno = EINVAL;\n    result->stored = EINVAL;\n    result->ret = -1;\n    break;\n",
    "  }\n}\n",
  ].join("");
}

function isErr(parameter: Parameter): boolean {
  return roleOf(parameter).kind === "err";
}

function downcall(target: Target, plan: Trampolines, { name, signature, text }: Callback): string {
  const values = signature.parameters.map((parameter) => argument(target, plan, name, parameter));
  const call = `self->${name} (${values.join(", ")});\n`;
  const head = `  case ${opName(name)}: // ${text}\n`;
  const failed = signature.parameters.some(isErr)
    ? "    if (result->ret == -1)\n      result->stored = err;\n"
    : "";
  switch (signature.returns.kind) {
    case "void":
      return `${head}    ${call}    result->ret = 0;\n    break;\n`;
    case "pointer":
      return `${head}    result->ret = (int64_t) (intptr_t) ${call}    break;\n`;
    default:
      return `${head}    result->ret = ${call}${failed}    break;\n`;
  }
}

function argument(
  target: Target,
  plan: Trampolines,
  callback: string,
  parameter: Parameter,
): string {
  const role = roleOf(parameter);
  switch (role.kind) {
    case "next": {
      const op = nextFunctions[typeName(parameter.type)]?.callback ?? "";
      return plan.get(target)?.get(op)?.name ?? "downcall->nxdata";
    }
    case "next-ops":
      return "&next_ops";
    case "layer":
      return `downcall->${role.field}`;
    case "number":
    case "pointer":
      return `downcall->${argumentField(callback, role.field)}`;
    case "out":
      return `&result->${role.field}`;
    case "err":
      return "&err";
    case "flag":
      return `!!(downcall->${argumentField(callback, "flags")} & ${role.macro})`;
    default:
      return role satisfies never;
  }
}

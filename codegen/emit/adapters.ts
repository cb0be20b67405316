/** Emits the C that calls modules: adapters.gen.h, and a file for each generation and for plugins. */
import {
  type Callback,
  callbacksOf,
  type CType,
  type FunctionDeclaration,
  type Parameter,
  SourceError,
  structOf,
  type Unit,
} from "../ir.ts";
import { headers, type Model } from "../model.ts";
import { opName } from "../names.ts";
import { banner, type GeneratedFile } from "../output.ts";
import { nextFunctions, parameters, type Role } from "../semantics.ts";
import { adaptersOf } from "./ops.ts";

/** What one C file is made for. */
interface Target {
  /** As in the names of its functions: `filter_s`. */
  readonly name: string;
  readonly struct: string;
  readonly unit: Unit;
  readonly header: string;
  /** The lines that choose the form of the header. */
  readonly choice: string;
  readonly suffix: string;
}

function targetsOf(model: Model): Target[] {
  const filters = model.generations.map(({ id, unit }) => ({
    name: `filter_${id.toLowerCase()}`,
    struct: "nbdkit_filter",
    unit,
    header: headers.filter,
    choice: `#define NBDKIT_FILTER_GENERATION NBDKIT_GENERATION_${id}\n#define NBDKIT_API_VERSION 2\n`,
    suffix: `_${id.toLowerCase()}`,
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

/** All files in C but ops.gen.h. */
export function emitAdapters(model: Model): GeneratedFile[] {
  const targets = targetsOf(model);
  return [
    emitHeader(model, targets),
    ...targets.map((target) => ({
      path: `${target.name.replaceAll("_", "-")}.gen.c`,
      text: adapterText(target),
    })),
  ];
}

function emitHeader(model: Model, targets: readonly Target[]): GeneratedFile {
  const adapters = adaptersOf(model);
  const open = targets.flatMap((target) =>
    nextFunctionsOf(target)
      .filter((next) => isVisible(next))
      .map((next) => `${trampolineHead(target, next)};\n`),
  );
  const text = [
    banner([headers.filter, headers.plugin]),
    "#ifndef RT_ADAPTERS_GEN_H\n#define RT_ADAPTERS_GEN_H\n\n",
    '#include "ops.gen.h"\n#include "runtime.h"\n\n',
    "// Calls the callback that m->op names with what is in m, and leaves the result in m->ret.\n",
    "typedef void (*rt_adapter) (const void *module, struct rt_message *m);\n\n",
    ...adapters.map(({ call }) => `void ${call} (const void *module, struct rt_message *m);\n`),
    "\n// What a filter calls to open the next layer.\n",
    ...open,
    "\nstatic const rt_adapter rt_adapters[] = {\n",
    ...adapters.map(({ macro, call }) => `  [${macro}] = ${call},\n`),
    "};\n\n#endif\n",
  ];
  return { path: "adapters.gen.h", text: text.join("") };
}

function adapterText(target: Target): string {
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
    ...upcalls(target),
    downcalls(target),
  ].join("");
}

// Upcalls: what a filter calls as the next layer.

function nextFunctionsOf(target: Target): FunctionDeclaration[] {
  return [...target.unit.functionTypes.values()];
}

/** The runtime needs the address of this trampoline to tell generations apart. */
function isVisible(next: FunctionDeclaration): boolean {
  return nextFunctions[next.name] === "open";
}

function trampolineName(target: Target, op: string): string {
  return `rt_next_${op}${target.suffix}`;
}

function trampolineHead(target: Target, declaration: FunctionDeclaration | Callback): string {
  const { parameters: list, returns } = declaration.signature;
  const op = nextFunctions[declaration.name] ?? declaration.name;
  const declared = list.map(({ name, type }) => typeText(type, name)).join(", ");
  return `${typeText(returns, "")} ${trampolineName(target, op)} (${declared})`;
}

function upcalls(target: Target): string[] {
  if (target.struct !== "nbdkit_filter") return [];
  const ops = callbacksOf(structOf(target.unit, "nbdkit_next_ops"));
  const nexts = nextFunctionsOf(target);
  const members = ops.map(({ name }) => `  .${name} = ${trampolineName(target, name)},\n`);
  return [
    ...nexts.map((next) => trampoline(target, next, isVisible(next) ? "" : "static ")),
    ...ops.map((callback) => trampoline(target, callback, "static ")),
    `\nstatic struct nbdkit_next_ops next_ops = {\n${members.join("")}};\n`,
  ];
}

function trampoline(
  target: Target,
  declaration: FunctionDeclaration | Callback,
  storage: string,
): string {
  const op = nextFunctions[declaration.name] ?? declaration.name;
  const { parameters: list, returns } = declaration.signature;
  const nxdata = list[0];
  if (nxdata?.name !== "nxdata") {
    const remedy = "name its first parameter nxdata: the trampoline hands it to rt_upcall";
    throw new SourceError(declaration.at, `${declaration.name} does not begin with nxdata`, remedy);
  }
  const assignments = list.slice(1).map((parameter) => {
    const role = roleOf(parameter);
    return `    ${fieldAssignment(role, parameter)},\n`;
  });
  const call = "rt_upcall (nxdata, &m)";
  const result =
    returns.kind === "void"
      ? `  ${call};\n`
      : `  return (${typeText(returns, "")}) ${returns.kind === "pointer" ? "(intptr_t) " : ""}${call};\n`;
  return [
    `\n// ${declaration.text}\n${storage}${trampolineHead(target, declaration)}\n{\n`,
    `  struct rt_message m = {\n    .kind = RT_UPCALL,\n    .op = ${opName(op)},\n`,
    ...assignments,
    `  };\n${result}}\n`,
  ].join("");
}

function fieldAssignment(role: Role, { name, at }: Parameter): string {
  switch (role.kind) {
    case "number":
      return `.${role.field} = ${name}`;
    case "pointer":
      return `.${role.field} = (uint64_t) (uintptr_t) ${name}`;
    case "flag":
      return `.flags = ${name} ? ${role.macro} : 0`;
    default:
      throw new SourceError(
        at,
        `${name} cannot be passed on`,
        "change its role in codegen/semantics.ts",
      );
  }
}

// Downcalls: the switch.

function downcalls(target: Target): string {
  const cases = callbacksOf(structOf(target.unit, target.struct)).map((callback) =>
    downcall(target, callback),
  );
  return [
    `\nvoid rt_${target.name}_call (const void *module, struct rt_message *m)\n{\n`,
    `  const struct ${target.struct} *self = module;\n\n  switch (m->op) {\n`,
    ...cases,
    "  default:\n    errno = EINVAL;\n    m->err = EINVAL;\n    m->ret = -1;\n    break;\n  }\n}\n",
  ].join("");
}

function downcall(target: Target, { name, signature, text }: Callback): string {
  const values = signature.parameters.map((parameter) => argument(target, parameter));
  const call = `self->${name} (${values.join(", ")});\n`;
  const head = `  case ${opName(name)}: // ${text}\n`;
  switch (signature.returns.kind) {
    case "void":
      return `${head}    ${call}    m->ret = 0;\n    break;\n`;
    case "pointer":
      return `${head}    m->ret = (int64_t) (intptr_t) ${call}    break;\n`;
    default:
      return `${head}    m->ret = ${call}    break;\n`;
  }
}

function argument(target: Target, parameter: Parameter): string {
  const role = roleOf(parameter);
  switch (role.kind) {
    case "next":
      return trampolineName(target, nextFunctions[typeName(parameter.type)] ?? "");
    case "next-ops":
      return "&next_ops";
    case "number":
      return `m->${role.field}`;
    case "pointer":
      return `(void *) (uintptr_t) m->${role.field}`;
    case "out":
      return `&m->${role.field}`;
    case "flag":
      return `!!(m->flags & ${role.macro})`;
    default:
      return role satisfies never;
  }
}

function roleOf(parameter: Parameter): Role {
  const meaning = parameters[parameter.name];
  if (meaning !== undefined) return meaning.role;
  const remedy = "describe it in parameters of codegen/semantics.ts";
  throw new SourceError(parameter.at, `unknown parameter: ${parameter.name}`, remedy);
}

function typeName(type: CType): string {
  if (type.kind === "pointer") return typeName(type.to);
  return type.kind === "named" ? type.name : "";
}

/** `type` as C declares `name` with it. */
function typeText(type: CType, name: string): string {
  switch (type.kind) {
    case "pointer": {
      const to = typeText(type.to, "");
      return `${type.constant ? "const " : ""}${to}${to.endsWith("*") ? "" : " "}*${name}`;
    }
    case "struct":
      return `struct ${type.name}${name && ` ${name}`}`;
    case "integer":
    case "named":
      return `${type.name}${name && ` ${name}`}`;
    case "function":
      throw new Error(`${name} is a pointer to a function; give its type a name in the header`);
    default:
      return `${type.kind}${name && ` ${name}`}`;
  }
}

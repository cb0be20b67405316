/** Emits the C functions by which a filter calls the next layer. Each makes an upcall and passes it to rt_upcall. */
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
import { opName } from "../names.ts";
import { messages, nextFunctions, parameters, type Role } from "../semantics.ts";

/** The struct that one generated C file is for. */
export interface Target {
  /** The name in its functions, such as `filter_1_30`. */
  readonly name: string;
  readonly struct: string;
  readonly unit: Unit;
  readonly header: string;
  /** The lines that choose the form of the header. */
  readonly choice: string;
  readonly suffix: string;
}

/** A function of the next layer. The file of the first layout that has this form of it defines it. */
interface Trampoline {
  readonly target: Target;
  readonly name: string;
  readonly text: string;
}

/** The trampolines of all targets, by target and callback. */
export type Trampolines = ReadonlyMap<Target, ReadonlyMap<string, Trampoline>>;

export function planTrampolines(targets: readonly Target[]): Trampolines {
  const byText = new Map<string, Trampoline>();
  const plan = (target: Target) => {
    const declarations = [...target.unit.functionTypes.values(), ...nextOpsOf(target)];
    const rows = declarations.map((declaration) => {
      const op = nextFunctions[declaration.name]?.callback ?? declaration.name;
      const key = trampolineText(target, declaration, "");
      const name = `rt_next_${op}${target.suffix}`;
      const text = trampolineText(target, declaration, name);
      const known = byText.get(key) ?? { target, name, text };
      byText.set(key, known);
      return [op, known] as const;
    });
    return [target, new Map(rows)] as const;
  };
  return new Map(targets.map(plan));
}

/** The functions, the struct nbdkit_next_ops with them, and the entry for rt_next_tables. */
export function emitTrampolines(target: Target, plan: Trampolines): string[] {
  const all = plan.get(target) ?? new Map<string, Trampoline>();
  const own = [...all.values()].filter((trampoline) => trampoline.target === target);
  const others = [...all.values()].filter((trampoline) => trampoline.target !== target);
  const members = nextOpsOf(target).map(({ name }) => `  .${name} = ${all.get(name)?.name},\n`);
  return [
    others.length === 0 ? "" : "\n// As in earlier layouts.\n",
    ...others.map(({ text }) => headOf(text)),
    ...own.map(({ text }) => `\n${text}`),
    `\nstatic struct nbdkit_next_ops next_ops = {\n${members.join("")}};\n`,
    `\nconst struct rt_next_table rt_next_table_${target.name} = {\n`,
    "  .functions = &next_ops,\n  .size = sizeof next_ops,\n  .release = NBDKIT_FILTER_RELEASE,\n",
    all.has("extents") ? "  .extents = offsetof (struct nbdkit_next_ops, extents),\n};\n" : "};\n",
  ];
}

/** The declaration of a trampoline. */
function headOf(text: string): string {
  return `${text.slice(0, text.indexOf("\n{")).replace(/^\/\/.*\n/, "")};\n`;
}

function nextOpsOf({ unit, struct }: Target): Callback[] {
  return struct === "nbdkit_filter" ? callbacksOf(structOf(unit, "nbdkit_next_ops")) : [];
}

function trampolineText(
  { unit }: Target,
  declaration: FunctionDeclaration | Callback,
  name: string,
): string {
  const { parameters: list, returns } = declaration.signature;
  const declared = list.map((parameter) => typeText(parameter.type, parameter.name, unit));
  const start = `// ${declaration.text}\n${typeText(returns, name, unit)} (${declared.join(", ")})\n{\n`;
  const first = firstOf(declaration);
  const next = nextFunctions[declaration.name];
  if (next?.done !== undefined) {
    return `${start}  // ${next.done}\n  (void) ${first.name};\n  return 0;\n}\n`;
  }
  const callback = next?.callback ?? declaration.name;
  const answers = list.some((parameter) => roleOf(parameter).kind === "out");
  const call = `rt_upcall (${first.name}, &upcall, ${answers ? "&answer" : "NULL"})`;
  return [
    `${start}  struct rt_upcall upcall = {\n    .op = ${opName(callback)},\n`,
    ...list.slice(1).flatMap((parameter) => fieldAssignment(callback, parameter)),
    `  };\n${answers ? "  struct rt_answer answer;\n" : ""}`,
    resultText(unit, declaration, call),
    "}\n",
  ].join("");
}

function firstOf(declaration: FunctionDeclaration | Callback): Parameter {
  const first = declaration.signature.parameters[0];
  const role = first === undefined ? undefined : parameters[first.name]?.role;
  if (first !== undefined && role?.kind === "layer" && role.field === "nxdata") return first;
  const remedy = "name its first parameter nxdata: the trampoline hands it to rt_upcall";
  throw new SourceError(declaration.at, `${declaration.name} does not begin with nxdata`, remedy);
}

/** The code for the return value, for outputs through pointers, and for the errno of a failure. */
function resultText(
  unit: Unit,
  { signature }: FunctionDeclaration | Callback,
  call: string,
): string {
  const { returns, parameters: list } = signature;
  const outcomes = outcomesOf(list);
  const type = typeText(returns, "", unit);
  if (returns.kind === "void") return `  ${call};\n`;
  if (returns.kind !== "pointer" && outcomes.length === 0) return `  return (${type}) ${call};\n`;
  const value =
    returns.kind === "pointer" ? `ret == -1 ? NULL : (${type}) (intptr_t) ret` : `(${type}) ret`;
  return `  int64_t ret = ${call};\n\n${outcomes.join("")}  return ${value};\n`;
}

function outcomesOf(list: readonly Parameter[]): string[] {
  const stores = list.flatMap((parameter) => {
    const role = roleOf(parameter);
    return role.kind === "out" ? [`    *${parameter.name} = answer.${role.field};\n`] : [];
  });
  const err = list.find((parameter) => roleOf(parameter).kind === "err");
  return [
    ...(stores.length === 0 ? [] : [`  if (ret != -1) {\n${stores.join("")}  }\n`]),
    ...(err === undefined
      ? []
      : [`  if (ret == -1 && ${err.name} != NULL)\n    *${err.name} = errno;\n`]),
  ];
}

function fieldAssignment(callback: string, parameter: Parameter): string[] {
  const role = roleOf(parameter);
  const { name, at } = parameter;
  switch (role.kind) {
    case "number":
      return [`    .${argumentField(callback, role.field)} = ${name},\n`];
    case "pointer":
      return [`    .${argumentField(callback, role.field)} = (void *) (uintptr_t) ${name},\n`];
    case "flag":
      return [`    .${argumentField(callback, "flags")} = ${name} ? ${role.macro} : 0,\n`];
    case "err":
    case "out":
      return [];
    default:
      throw new SourceError(
        at,
        `${name} cannot be passed on`,
        "change its role in codegen/semantics.ts",
      );
  }
}

/** The field of a parameter's value in a downcall or an upcall. */
export function argumentField(callback: string, field: string): string {
  return `arguments.${messages.get(callback)}.${field}`;
}

/** The role of a parameter. */
export function roleOf(parameter: Parameter): Role {
  const meaning = parameters[parameter.name];
  if (meaning !== undefined) return meaning.role;
  const remedy = "describe it in parameters of codegen/semantics.ts";
  throw new SourceError(parameter.at, `unknown parameter: ${parameter.name}`, remedy);
}

/** The name of a type, or of the type that it points to, if the headers give it one. */
export function typeName(type: CType): string {
  if (type.kind === "pointer") return typeName(type.to);
  return type.kind === "named" ? type.name : "";
}

/** The declaration of `name` with `type`. Opaque types are resolved, since their names differ in meaning by layout. */
function typeText(type: CType, name: string, unit: Unit): string {
  const after = name && ` ${name}`;
  switch (type.kind) {
    case "pointer": {
      const to = typeText(type.to, "", unit);
      return `${type.constant ? "const " : ""}${to}${to.endsWith("*") ? "" : " "}*${name}`;
    }
    case "struct":
    case "union":
      return `${type.kind} ${type.name}${after}`;
    case "named": {
      const opaque = unit.opaqueTypes.get(type.name);
      return opaque === undefined ? `${type.name}${after}` : typeText(opaque, name, unit);
    }
    case "integer":
      return `${type.name}${after}`;
    case "function":
      throw new Error(`${name} is a pointer to a function; give its type a name in the header`);
    default:
      return `${type.kind}${after}`;
  }
}

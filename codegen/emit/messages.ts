/** Emits messages.gen.ts: functions that write and read the structs of messages in memory that C shares. */
import { SourceError, type Struct, structOf, unionOf, type Unit } from "../ir.ts";
import { layoutOf } from "../layout.ts";
import { headers, type Model } from "../model.ts";
import { camelCase, opName, runtimeName } from "../names.ts";
import type { GeneratedFile } from "../output.ts";
import { messages } from "../semantics.ts";
import { opsOf } from "./ops.ts";
import { typescriptFile } from "./typescript.ts";

export function emitMessages(model: Model): GeneratedFile {
  const { runtime } = model;
  const existing = new Set(opsOf(model));
  const carriers = [...messages].filter(([callback]) => existing.has(callback));
  const body = offsetOf(runtime, "rt_message", "body");
  const passed = body + offsetOf(runtime, "rt_downcall", "arguments");
  const asked = body + offsetOf(runtime, "rt_upcall", "arguments");
  const carried = new Set(messages.values());
  const members = unionOf(runtime, "rt_arguments").fields.flatMap(({ name, type }) =>
    type.kind === "struct" ? [{ name, struct: structOf(runtime, type.name) }] : [],
  );
  const written = members.filter(({ name }) => carried.has(name)).map(({ struct }) => struct);
  const ops = carriers.map(([callback]) => `type ${opName(callback)}`);
  const inputs = [headers.filter, headers.plugin, headers.runtime];
  const downcall = structOf(runtime, "rt_downcall");
  const upcall = structOf(runtime, "rt_upcall");
  const result = structOf(runtime, "rt_result");
  const answer = structOf(runtime, "rt_answer");
  const direct = structOf(runtime, "rt_direct");
  return typescriptFile("messages.gen.ts", inputs, (file) => {
    file.addStatements([
      `import { ${["RT_ANSWER", "RT_DOWNCALL", ...ops].join(", ")} } from "./ops.gen.ts";\n`,
      memory,
      ...[downcall, upcall, result, answer, direct].map((struct) => interfaceOf(struct, runtime)),
      ...members.map(({ struct }) => interfaceOf(struct, runtime)),
      argumentsType(written),
      argumentTypes(carriers),
      kindReader(offsetOf(runtime, "rt_message", "kind")),
      writer(downcall, runtime, body, "RT_DOWNCALL"),
      writer(answer, runtime, body, "RT_ANSWER"),
      reader(upcall, runtime, body),
      reader(result, runtime, body),
      writer(direct, runtime, 0),
      ...written.map((struct) => writer(struct, runtime, passed)),
      ...members.map(({ struct }) => reader(struct, runtime, asked)),
      argumentsWriter(written),
    ]);
  });
}

/** The class for the memory, and functions for values that take several accesses. */
const memory = `/** Memory that C shares. Functions take the index of the 4-byte word at which a struct starts. */
export class Memory {
  readonly u8: Uint8Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly i64: BigInt64Array;
  readonly u64: BigUint64Array;

  constructor(buffer: ArrayBuffer) {
    this.u8 = new Uint8Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i64 = new BigInt64Array(buffer);
    this.u64 = new BigUint64Array(buffer);
  }
}

const high = 2 ** 32;

function putPointer(m: Memory, word: number, pointer: number): void {
  m.u32[word] = pointer;
  m.u32[word + 1] = pointer / high;
}

function pointerAt(m: Memory, word: number): number {
  return (m.u32[word] ?? 0) + (m.u32[word + 1] ?? 0) * high;
}

function putInt64(m: Memory, word: number, value: bigint | number): void {
  if (typeof value === "bigint") {
    m.i64[word / 2] = value;
  } else {
    m.u32[word] = value;
    m.i32[word + 1] = Math.floor(value / high);
  }
}

/** A number if that is exact, else a bigint. */
function int64At(m: Memory, word: number): bigint | number {
  const value = (m.u32[word] ?? 0) + (m.i32[word + 1] ?? 0) * high;
  return Number.isSafeInteger(value) ? value : (m.i64[word / 2] ?? 0n);
}
`;

/** The type of a field in TypeScript, and the code to access it. Offsets are in bytes. */
interface Access {
  readonly type: string;
  put(offset: number, value: string): string;
  get(offset: number): string;
}

const word = (offset: number): string => `base + ${offset / 4}`;
const pointer: Access = {
  type: "number",
  put: (offset, value) => `putPointer(m, ${word(offset)}, ${value})`,
  get: (offset) => `pointerAt(m, ${word(offset)})`,
};
const accesses: Readonly<Record<string, Access>> = {
  pointer,
  string: pointer,
  bool: {
    type: "boolean",
    put: (offset, value) => `m.u8[4 * base + ${offset}] = ${value} ? 1 : 0`,
    get: (offset) => `m.u8[4 * base + ${offset}] !== 0`,
  },
  i32: {
    type: "number",
    put: (offset, value) => `m.i32[${word(offset)}] = ${value}`,
    get: (offset) => `m.i32[${word(offset)}] ?? 0`,
  },
  u32: {
    type: "number",
    put: (offset, value) => `m.u32[${word(offset)}] = ${value}`,
    get: (offset) => `m.u32[${word(offset)}] ?? 0`,
  },
  i64: {
    type: "bigint | number",
    put: (offset, value) => `putInt64(m, ${word(offset)}, ${value})`,
    get: (offset) => `int64At(m, ${word(offset)})`,
  },
  u64: {
    type: "bigint",
    put: (offset, value) => `m.u64[(${word(offset)}) / 2] = ${value}`,
    get: (offset) => `m.u64[(${word(offset)}) / 2] ?? 0n`,
  },
};

interface Value extends Access {
  readonly name: string;
  readonly offset: number;
}

/** The fields of a struct except unions, whose members have functions of their own. */
function valuesOf(struct: Struct, unit: Unit): Value[] {
  return layoutOf(struct, unit).fields.flatMap(({ name, offset, kind }) => {
    if (kind === "union") return [];
    const access = accesses[kind];
    if (access !== undefined) return [{ ...access, name: camelCase(name), offset }];
    const remedy = `use a field of another type: known are ${Object.keys(accesses).join(", ")}`;
    throw new SourceError(struct.at, `${name} of struct ${struct.name} is ${kind}`, remedy);
  });
}

function offsetOf(unit: Unit, struct: string, field: string): number {
  const found = layoutOf(structOf(unit, struct), unit).fields.find(({ name }) => name === field);
  if (found === undefined) throw new Error(`struct ${struct} has no ${field}`);
  return found.offset;
}

function typeOf({ name }: Struct): string {
  const camel = runtimeName(name);
  return `${camel.slice(0, 1).toUpperCase()}${camel.slice(1)}`;
}

function interfaceOf(struct: Struct, unit: Unit): string {
  const values = valuesOf(struct, unit);
  const fields = values.map(({ name, type }) => `  readonly ${name}: ${type};\n`);
  return `/** struct ${struct.name}. */\nexport interface ${typeOf(struct)} {\n${fields.join("")}}\n`;
}

function writer(struct: Struct, unit: Unit, start: number, kind?: string): string {
  const lines = valuesOf(struct, unit).map(
    ({ name, offset, put }) => `  ${put(start + offset, `value.${name}`)};\n`,
  );
  const type = typeOf(struct);
  const put = kind === undefined ? "" : `  m.u32[base] = ${kind};\n`;
  return `export function write${type}(m: Memory, base: number, value: ${type}): void {\n${put}${lines.join("")}}\n`;
}

function reader(struct: Struct, unit: Unit, start: number): string {
  const lines = valuesOf(struct, unit).map(
    ({ name, offset, get }) => `    ${name}: ${get(start + offset)},\n`,
  );
  const type = typeOf(struct);
  return `export function read${type}(m: Memory, base: number): ${type} {\n  return {\n${lines.join("")}  };\n}\n`;
}

function kindReader(offset: number): string {
  return (
    "/** RT_* */\nexport function readKind(m: Memory, base: number): number {\n" +
    `  return ${accesses["u32"]?.get(offset)};\n}\n`
  );
}

/** `{ type: "data", buf, offset, count, flags }` and the like. */
function argumentsType(structs: readonly Struct[]): string {
  const tagged = structs.map(
    (struct) => `  | (${typeOf(struct)} & { readonly type: "${runtimeName(struct.name)}" })\n`,
  );
  return `/** The arguments of callbacks. */\nexport type Arguments =\n${tagged.join("").trimEnd()};\n`;
}

/** `[RT_OP_PREAD]: "data"` and the like. */
function argumentTypes(carriers: readonly (readonly [string, string])[]): string {
  const rows = carriers.map(
    ([callback, member]) => `  readonly [${opName(callback)}]: "${member}";\n`,
  );
  return (
    "/** The type of each callback's arguments, by its op. Other callbacks have none. */\n" +
    `export interface ArgumentTypes {\n${rows.join("")}}\n`
  );
}

function argumentsWriter(structs: readonly Struct[]): string {
  const cases = structs.map(
    (struct) =>
      `    case "${runtimeName(struct.name)}":\n      return write${typeOf(struct)}(m, base, value);\n`,
  );
  return (
    "/** Write the arguments of the downcall at the word `base`. */\n" +
    "export function writeArguments(m: Memory, base: number, value: Arguments): void {\n" +
    `  switch (value.type) {\n${cases.join("")}  }\n}\n`
  );
}

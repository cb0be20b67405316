/** The content of the headers as data: types, signatures, structs and functions, each with its place. */

/** A place in a header. Line and column count from 1. */
export interface Location {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** The whole line of the file. */
  readonly source: string;
}

export type IntegerName = keyof typeof integers;

/** The integers that a declaration may use: bytes (LP64), the kind in layouts, and bun:ffi's type. */
export const integers = {
  int: { size: 4, kind: "int", ffi: "i32" },
  unsigned: { size: 4, kind: "u32", ffi: "u32" },
  _Bool: { size: 1, kind: "bool", ffi: "bool" },
  int8_t: { size: 1, kind: "i8", ffi: "i8" },
  uint8_t: { size: 1, kind: "u8", ffi: "u8" },
  int16_t: { size: 2, kind: "i16", ffi: "i16" },
  uint16_t: { size: 2, kind: "u16", ffi: "u16" },
  int32_t: { size: 4, kind: "i32", ffi: "i32" },
  uint32_t: { size: 4, kind: "u32", ffi: "u32" },
  int64_t: { size: 8, kind: "i64", ffi: "i64_fast" },
  uint64_t: { size: 8, kind: "u64", ffi: "u64_fast" },
  size_t: { size: 8, kind: "u64", ffi: "u64_fast" },
  socklen_t: { size: 4, kind: "u32", ffi: "u32" },
} as const;

export type CType =
  | { readonly kind: "void" }
  | { readonly kind: "char" }
  | { readonly kind: "double" }
  | { readonly kind: "integer"; readonly name: IntegerName }
  /** `constant`: the target is const. */
  | { readonly kind: "pointer"; readonly to: CType; readonly constant: boolean }
  | { readonly kind: "struct" | "union"; readonly name: string }
  | { readonly kind: "array"; readonly of: CType; readonly length: number }
  /** The name of a function type, or of an opaque type. */
  | { readonly kind: "named"; readonly name: string }
  | { readonly kind: "va_list" }
  | { readonly kind: "function"; readonly signature: Signature };

export interface Parameter {
  readonly name: string;
  readonly type: CType;
  readonly at: Location;
}

export interface Signature {
  readonly returns: CType;
  readonly parameters: readonly Parameter[];
  readonly variadic: boolean;
}

/** A declaration, with its text on one line and without the semicolon. */
interface Declared {
  readonly name: string;
  readonly text: string;
  readonly at: Location;
}

interface Field extends Declared {
  readonly type: CType;
}

/** A struct, or a union. */
export interface Struct {
  readonly name: string;
  readonly fields: readonly Field[];
  readonly at: Location;
}

export interface FunctionDeclaration extends Declared {
  readonly signature: Signature;
}

/** The result of one run of the preprocessor: a header for one choice of its macros. */
export interface Unit {
  readonly structs: ReadonlyMap<string, Struct>;
  readonly unions: ReadonlyMap<string, Struct>;
  /** The function types, by name. */
  readonly functionTypes: ReadonlyMap<string, FunctionDeclaration>;
  /** Other names of structs and of void, which are used only behind pointers. */
  readonly opaqueTypes: ReadonlyMap<string, CType>;
  /** Other names of other types. The parser has replaced their uses. */
  readonly aliases: ReadonlyMap<string, CType>;
  readonly functions: ReadonlyMap<string, FunctionDeclaration>;
}

/** A field that points to a function. */
export interface Callback extends Field {
  readonly signature: Signature;
}

/** The function pointers of a struct, in order. */
export function callbacksOf(struct: Struct): Callback[] {
  return struct.fields.flatMap((field) =>
    field.type.kind === "pointer" && field.type.to.kind === "function"
      ? [{ ...field, signature: field.type.to.signature }]
      : [],
  );
}

/** The struct of that name, which the headers must declare. */
export function structOf(unit: Unit, name: string): Struct {
  const struct = unit.structs.get(name);
  if (struct === undefined) throw new Error(`the headers do not declare struct ${name}`);
  return struct;
}

/** The union of that name, which the headers must declare. */
export function unionOf(unit: Unit, name: string): Struct {
  const union = unit.unions.get(name);
  if (union === undefined) throw new Error(`the headers do not declare union ${name}`);
  return union;
}

/** The error for a declaration that cannot be used, with its place and a remedy. */
export class SourceError extends Error {
  override readonly name = "SourceError";

  constructor(at: Location, problem: string, remedy: string) {
    const caret = `${at.source.slice(0, at.column - 1).replaceAll(/[^\t]/g, " ")}^`;
    super(`${at.file}:${at.line}:${at.column}: ${problem}\n${at.source}\n${caret}\n${remedy}`);
  }
}

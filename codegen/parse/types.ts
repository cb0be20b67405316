/** Reads C's types and declarators: `const char *(*name) (void)` from the outside in. */
import type { Node } from "web-tree-sitter";

import {
  type CType,
  type IntegerName,
  integers,
  type Location,
  type Signature,
  SourceError,
} from "../ir.ts";

/** The part of the parser that these functions need. */
export interface Reader {
  at(node: Node): Location;
  /** The types behind the names that a header defines. */
  readonly aliases: ReadonlyMap<string, CType>;
  signature(reader: Reader, list: Node | null, returns: CType): Signature;
}

/** The type in front of a declarator, and whether it is const. */
export interface Base {
  readonly type: CType;
  readonly constant: boolean;
}

/**
 * The part of a declaration in front of its declarator. Other parts (a bit field, an attribute, a second declarator)
 * would change the meaning, so unknown parts are refused.
 */
export function baseType(reader: Reader, node: Node): Base {
  const type = node.childForFieldName("type");
  if (type === null) unknown(reader, node, node.text);
  const declarator = node.childForFieldName("declarator");
  let constant = false;
  for (const child of node.namedChildren) {
    if (child.type === "comment" || child.id === type.id || child.id === declarator?.id) continue;
    if (child.type === "storage_class_specifier" && child.text === "extern") continue;
    if (child.type !== "type_qualifier" || child.text !== "const") {
      strange(reader, child, `${child.text} in ${node.text.replaceAll(/\s+/g, " ")}`);
    }
    constant = true;
  }
  return { type: named(reader, type), constant };
}

function isInteger(name: string): name is IntegerName {
  return Object.hasOwn(integers, name);
}

function named(reader: Reader, node: Node): CType {
  const name = node.text;
  if (node.type === "struct_specifier" || node.type === "union_specifier") {
    const kind = node.type === "struct_specifier" ? "struct" : "union";
    const tag = node.childForFieldName("name")?.text;
    if (tag === undefined || node.childForFieldName("body") !== null) unknown(reader, node, kind);
    return { kind, name: tag };
  }
  const alias = reader.aliases.get(name);
  if (alias !== undefined) return alias;
  if (isInteger(name)) return { kind: "integer", name };
  if (name === "void" || name === "char" || name === "double" || name === "va_list")
    return { kind: name };
  // A name of the header. Its uses check whether the type exists.
  if (node.type === "type_identifier" && name.startsWith("nbdkit_")) return { kind: "named", name };
  return unknown(reader, node, name);
}

/** The name and the type that a declarator declares. */
export function declared(
  reader: Reader,
  declarator: Node,
  base: Base,
): { readonly name: string; readonly type: CType } {
  switch (declarator.type) {
    case "identifier":
    case "field_identifier":
    case "type_identifier":
    // The grammar has size_t, ssize_t and the like as words of their own.
    case "primitive_type":
      return { name: declarator.text, type: base.type };
    case "pointer_declarator": {
      allowOnly(reader, declarator, /^const$/);
      const constant = declarator.namedChildren.some(({ text }) => text === "const");
      const type: CType = { kind: "pointer", to: base.type, constant: base.constant };
      return declared(reader, inner(reader, declarator), { type, constant });
    }
    case "array_declarator": {
      const size = declarator.childForFieldName("size");
      if (size === null || !/^\d+$/.test(size.text)) {
        return unknown(reader, declarator, declarator.text);
      }
      const type: CType = { kind: "array", of: base.type, length: Number(size.text) };
      return declared(reader, inner(reader, declarator), { type, constant: false });
    }
    case "function_declarator": {
      allowOnly(reader, declarator, /\b(__format__|__visibility__|format|visibility)\b/);
      const list = declarator.childForFieldName("parameters");
      const signature = reader.signature(reader, list, base.type);
      const type: CType = { kind: "function", signature };
      return declared(reader, inner(reader, declarator), { type, constant: false });
    }
    case "parenthesized_declarator": {
      const child = declarator.namedChildren[0];
      if (child === undefined) return unknown(reader, declarator, declarator.text);
      return declared(reader, child, base);
    }
    default:
      return unknown(reader, declarator, declarator.text);
  }
}

/** Check that a declarator has only a name, parameters, and attributes or qualifiers that match `attribute`. */
function allowOnly(reader: Reader, declarator: Node, attribute: RegExp): void {
  const parts = ["declarator", "parameters"].map((part) => declarator.childForFieldName(part)?.id);
  for (const child of declarator.namedChildren) {
    if (parts.includes(child.id) || child.type === "comment") continue;
    const known =
      ["attribute_specifier", "type_qualifier"].includes(child.type) && attribute.test(child.text);
    if (!known)
      strange(reader, child, `${child.text} in ${declarator.text.replaceAll(/\s+/g, " ")}`);
  }
}

function inner(reader: Reader, declarator: Node): Node {
  return declarator.childForFieldName("declarator") ?? unknown(reader, declarator, declarator.text);
}

function unknown(reader: Reader, node: Node, what: string): never {
  throw new SourceError(
    reader.at(node),
    `unknown type: ${what}`,
    `known are void, char, double, va_list, ${Object.keys(integers).join(", ")}, pointers, structs and ` +
      "nbdkit_* types; change the header, or teach codegen/parse/types.ts",
  );
}

function strange(reader: Reader, node: Node, what: string): never {
  throw new SourceError(
    reader.at(node),
    `not understood: ${what}`,
    "it could change what is declared; change the header, or teach codegen/parse/types.ts",
  );
}

/** Reads preprocessed C declarations into the model. It refuses unknown syntax and names the place. */
import { fileURLToPath } from "node:url";

import { Language, type Node, Parser } from "web-tree-sitter";

import {
  type CType,
  type FunctionDeclaration,
  type Location,
  type Parameter,
  type Signature,
  SourceError,
  type Struct,
  type Unit,
} from "../ir.ts";
import type { Preprocessed } from "./preprocess.ts";
import { baseType, declared, type Reader } from "./types.ts";

/** Parse one preprocessed header. */
export async function parseUnit(source: Preprocessed): Promise<Unit> {
  const parser = await cParser();
  const tree = parser.parse(source.text);
  if (tree === null) throw new Error("tree-sitter gave no tree");
  const structs = new Map<string, Struct>();
  const unions = new Map<string, Struct>();
  const functionTypes = new Map<string, FunctionDeclaration>();
  const opaqueTypes = new Map<string, CType>();
  const functions = new Map<string, FunctionDeclaration>();
  const aliases = new Map<string, CType>();
  const reader: Reader = {
    at: (node) => locate(source, node),
    aliases,
    signature: readSignature,
  };
  for (const node of tree.rootNode.namedChildren) {
    switch (node.type) {
      case "comment":
        break;
      case "preproc_call":
        // Pragmas that change no layout, unlike `#pragma pack`.
        if (!/^#pragma GCC (visibility|diagnostic)\b/.test(node.text)) refuse(reader, node);
        break;
      case "struct_specifier":
        addStruct(reader, node, structs);
        break;
      case "union_specifier":
        addStruct(reader, node, unions);
        break;
      case "type_definition":
        if (!addOpaque(node, opaqueTypes)) addType(reader, node, functionTypes, aliases);
        break;
      case "declaration":
        addFunction(reader, node, functions);
        break;
      default:
        refuse(reader, node);
    }
  }
  tree.delete();
  return { structs, unions, functionTypes, opaqueTypes, aliases, functions };
}

let parserPromise: Promise<Parser> | undefined;

function cParser(): Promise<Parser> {
  parserPromise ??= (async () => {
    await Parser.init();
    const wasm = fileURLToPath(import.meta.resolve("tree-sitter-c/tree-sitter-c.wasm"));
    return new Parser().setLanguage(await Language.load(wasm));
  })();
  return parserPromise;
}

function locate(source: Preprocessed, node: Node): Location {
  const token = /^(\w+|.)?/.exec(node.text)?.[0] ?? "";
  return source.locate(node.startPosition.row, node.startPosition.column, token);
}

/** The first syntax error in `node`, or the node itself. */
function culprit(node: Node): Node {
  const worse = node.children.find((child) => child.hasError || child.isMissing);
  return worse === undefined || node.isError ? node : culprit(worse);
}

function refuse(reader: Reader, node: Node): never {
  const what = node.hasError ? "syntax that is not understood" : `unknown declaration`;
  throw new SourceError(
    reader.at(culprit(node)),
    `${what} (${culprit(node).type})`,
    "expected a struct, a union, a typedef of a function or an opaque type, or a function; " +
      "change the header, or teach codegen/parse/declarations.ts",
  );
}

function addStruct(reader: Reader, node: Node, structs: Map<string, Struct>): void {
  const name = node.childForFieldName("name")?.text;
  const body = node.childForFieldName("body");
  const strange = node.namedChildren.some(
    ({ type }) => !["type_identifier", "field_declaration_list", "comment"].includes(type),
  );
  if (name === undefined || node.hasError || strange) refuse(reader, node);
  if (body === null) return; // A declaration only: pointers to it are opaque.
  const fields = body.namedChildren.flatMap((child) => {
    if (child.type === "comment") return [];
    const declarator = child.childForFieldName("declarator");
    if (child.type !== "field_declaration" || declarator === null) refuse(reader, child);
    const { name: fieldName, type } = declared(reader, declarator, baseType(reader, child));
    return [{ name: fieldName, type, text: oneLine(child), at: reader.at(child) }];
  });
  structs.set(name, { name, fields, at: reader.at(node) });
}

/** `typedef struct nbdkit_other nbdkit_name` or `typedef void nbdkit_name`. */
function addOpaque(node: Node, into: Map<string, CType>): boolean {
  const found = /^typedef (?:struct (nbdkit_\w+)|void) (nbdkit_\w+);$/.exec(node.text);
  if (found?.[2] === undefined) return false;
  into.set(
    found[2],
    found[1] === undefined ? { kind: "void" } : { kind: "struct", name: found[1] },
  );
  return true;
}

/** `typedef int name (int parameter)`, or another name of a type. */
function addType(
  reader: Reader,
  node: Node,
  functions: Map<string, FunctionDeclaration>,
  aliases: Map<string, CType>,
): void {
  const { name, type } = onlyDeclared(reader, node);
  if (type.kind === "function") addFunction(reader, node, functions);
  else aliases.set(name, type);
}

function onlyDeclared(reader: Reader, node: Node) {
  const declarators = node.childrenForFieldName("declarator");
  const declarator = declarators[0];
  if (node.hasError || !declarator || declarators.length !== 1) refuse(reader, node);
  return declared(reader, declarator, baseType(reader, node));
}

function addFunction(reader: Reader, node: Node, into: Map<string, FunctionDeclaration>): void {
  const { name, type } = onlyDeclared(reader, node);
  if (type.kind !== "function") refuse(reader, node);
  into.set(name, { name, signature: type.signature, text: oneLine(node), at: reader.at(node) });
}

/** The function type with these parameters. */
function readSignature(
  reader: Reader,
  list: Node | null,
  returns: Signature["returns"],
): Signature {
  const parameters: Parameter[] = [];
  let variadic = false;
  for (const node of list?.namedChildren ?? []) {
    if (node.type === "variadic_parameter") {
      variadic = true;
      continue;
    }
    if (node.type !== "parameter_declaration") refuse(reader, node);
    const base = baseType(reader, node);
    const declarator = node.childForFieldName("declarator");
    if (declarator === null || declarator.type.startsWith("abstract_")) {
      if (declarator === null && base.type.kind === "void") continue;
      throw new SourceError(reader.at(node), "a parameter without a name", "name it in the header");
    }
    parameters.push({ ...declared(reader, declarator, base), at: reader.at(node) });
  }
  return { returns, parameters, variadic };
}

/** The declaration on one line, without attributes and `extern`. */
function oneLine(node: Node): string {
  return node.text
    .replaceAll(/__attribute__ \(\(.*?\)\)\)*/gs, "")
    .replace(/^(extern|typedef) /, "")
    .replaceAll(/\s+/g, " ")
    .replaceAll(/ (?=[,)])/g, "")
    .replace(/ ?;$/, "")
    .trim();
}

/** Reads which files import which, and checks that against the order of the rooms. */
import { dirname, join } from "node:path/posix";

import { Project, SyntaxKind } from "ts-morph";

/** Lowest first. A file imports files of its own room and of lower ones; imports of types count, too. */
export const rooms = [
  "src/lib",
  "src/sys",
  "src/api",
  "src/chain",
  "abi/generated",
  "abi/runtime",
  "abi/recognise",
  "abi/bridge",
  "abi/adapters",
  "src/modules",
  "src/protocol",
  "src/server",
  "src/cli",
] as const;

/** Paths of files, and the paths that each of them imports. Packages keep their names. */
export type Imports = ReadonlyMap<string, readonly string[]>;

/** `aliases` are the `imports` of package.json. */
export function readImports(
  texts: ReadonlyMap<string, string>,
  aliases: Readonly<Record<string, string>>,
): Imports {
  const project = new Project({
    useInMemoryFileSystem: true,
    skipLoadingLibFiles: true,
    skipFileDependencyResolution: true,
  });
  const found = new Map<string, readonly string[]>();
  for (const [path, text] of texts) {
    const file = project.createSourceFile(`/${path}`, text);
    const specifiers = [
      ...file.getImportDeclarations().map((it) => it.getModuleSpecifierValue()),
      ...file.getExportDeclarations().map((it) => it.getModuleSpecifierValue() ?? ""),
      ...file
        .getDescendantsOfKind(SyntaxKind.ImportType)
        .map((it) => it.getArgument().getText().slice(1, -1)),
      ...file
        .getDescendantsOfKind(SyntaxKind.CallExpression)
        .filter((it) => it.getExpression().getKind() === SyntaxKind.ImportKeyword)
        .map(
          (it) => it.getArguments()[0]?.asKind(SyntaxKind.StringLiteral)?.getLiteralValue() ?? "",
        ),
    ];
    const paths = specifiers.filter((it) => it !== "").map((it) => resolve(path, it, aliases));
    found.set(path, [...new Set(paths)]);
    file.forget();
  }
  return found;
}

function resolve(from: string, specifier: string, aliases: Readonly<Record<string, string>>) {
  if (specifier.startsWith(".")) return join(dirname(from), specifier);
  for (const [alias, target] of Object.entries(aliases)) {
    const [start = "", end] = alias.split("*");
    if (alias === specifier) return join(target);
    if (end !== undefined && specifier.startsWith(start)) {
      return join(target.replace("*", specifier.slice(start.length)));
    }
  }
  return specifier;
}

/** The index of the room that a file is in; the program's own first file is in the uppermost one. */
export function roomOf(path: string): number {
  if (path === "src/main.ts") return rooms.length - 1;
  return rooms.findIndex((room) => path.startsWith(`${room}/`));
}

/** Groups of files that import one another, directly or through others. */
export function importCircles(imports: Imports): string[][] {
  const circles: string[][] = [];
  const index = new Map<string, number>();
  const lowest = new Map<string, number>();
  const open: string[] = [];
  // Tarjan's algorithm: a group is complete when its first file is reached by none that came before.
  const visit = (path: string): number => {
    const number = index.size;
    index.set(path, number);
    let low = number;
    open.push(path);
    for (const other of imports.get(path) ?? []) {
      if (!imports.has(other)) continue;
      if (!index.has(other)) low = Math.min(low, visit(other));
      else if (open.includes(other))
        low = Math.min(low, lowest.get(other) ?? index.get(other) ?? low);
    }
    lowest.set(path, low);
    if (low === number) {
      const group = open.splice(open.indexOf(path));
      if (group.length > 1) circles.push(group.toSorted());
    }
    return low;
  };
  for (const path of imports.keys()) if (!index.has(path)) visit(path);
  return circles;
}

/** Imports of files in higher rooms, each as `FILE imports FILE`. */
export function importsUpward(imports: Imports): string[] {
  const wrong: string[] = [];
  for (const [path, imported] of imports) {
    const room = roomOf(path);
    for (const other of imported) {
      if (room >= 0 && roomOf(other) > room) wrong.push(`${path} imports ${other}`);
    }
  }
  return wrong;
}

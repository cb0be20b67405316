/** Reads the imports of all files, and checks them against the order of the rooms. */
import { dirname, join } from "node:path/posix";

import { Project, SyntaxKind } from "ts-morph";

/** The rooms, the lowest first. A file may import files of its own room and of lower ones; type imports count too. */
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

/** The imports of each file, by path. Packages keep their names. */
export type Imports = ReadonlyMap<string, readonly string[]>;

/** Read all imports. `aliases` are the `imports` of package.json. */
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

/** The index of a file's room. The program's main file is in the highest one. */
export function roomOf(path: string): number {
  if (path === "src/main.ts") return rooms.length - 1;
  return rooms.findIndex((room) => path.startsWith(`${room}/`));
}

/** Groups of files that import one another, directly or indirectly. */
export function importCircles(imports: Imports): string[][] {
  const circles: string[][] = [];
  const index = new Map<string, number>();
  const lowest = new Map<string, number>();
  const open: string[] = [];
  // Tarjan's algorithm: a group is complete when none of its files reaches an earlier file.
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

/** All imports of files in higher rooms, as `FILE imports FILE`. */
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

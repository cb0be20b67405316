/** Finds the file of a module by its name on the command line. */
import { accessSync, constants, existsSync, readdirSync, type Stats, statSync } from "node:fs";
import { join } from "node:path";

import { ConfigError } from "../lib/errors.ts";
import { didYouMean } from "../lib/near.ts";
import { absolutePath } from "../lib/paths.ts";
import { quoted } from "../lib/quoted.ts";
import { filePath } from "../lib/text-bytes.ts";
import { messageOf } from "../lib/thrown.ts";
import { moduleDirectories } from "./directories.ts";

type Kind = "filter" | "plugin";

const root = join(import.meta.dir, "..", "..");
const native = "native:";

/** The file of the module `name`. Throws ConfigError that names the places that were searched. */
export function findModule(kind: Kind, name: string): string {
  const given = givenFile(kind, name);
  if (given !== undefined) return given;
  const short = shortName(name);
  const ours = ourFile(kind, short);
  const places = name.startsWith(native) ? [] : [ours];
  return firstOf(kind, short, [...places, genuineFile(kind, short)]);
}

/** Whether the file is one of this server's own modules. */
export function isOurs(path: string): boolean {
  return ["filters", "plugins"].some((kind) => path.startsWith(`${join(root, kind)}/`));
}

/** The file of a C module of either kind. A name without a path means an installed module. */
export function findNative(name: string): string {
  const given = givenFile("module", name);
  if (given !== undefined) return given;
  const short = shortName(name);
  const places = [genuineFile("plugin", short), genuineFile("filter", short)];
  const found = places.filter((place) => isThere(place));
  if (found.length < 2) return firstOf("module", short, places);
  throw new ConfigError(`${short} is a plugin and a filter: say which file: ${found.join(" or ")}`);
}

/**
 * The program `nbdkit-NAME-plugin` if a plugin is installed in this form, which starts the server with itself as the
 * script of another plugin: nbdkit-plugin(3), "Plugins in other programming languages".
 */
export function findScriptPlugin(name: string): string | undefined {
  if (isPath(name) || name === "") return undefined;
  const short = shortName(name);
  if (!name.startsWith(native) && isThere(ourFile("plugin", short))) {
    return undefined;
  }
  const path = `${moduleDirectories().plugindir}/nbdkit-${short}-plugin`;
  return isExecutable(path) ? path : undefined;
}

function isThere(path: string): boolean {
  return existsSync(filePath(path));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(filePath(path), constants.X_OK);
    const { mode } = statSync(filePath(path));
    return (mode & constants.S_IFMT) === constants.S_IFREG && (mode & constants.S_IXUSR) !== 0;
  } catch {
    return false;
  }
}

function isPath(name: string): boolean {
  return !name.startsWith(native) && /[./]/.test(name);
}

function shortName(name: string): string {
  return name.startsWith(native) ? name.slice(native.length) : name;
}

function ourFile(kind: Kind, short: string): string {
  return `${root}/${kind}s/${short}/${short}.ts`;
}

function genuineFile(kind: Kind, short: string): string {
  const { filterdir, plugindir } = moduleDirectories();
  return `${kind === "filter" ? filterdir : plugindir}/nbdkit-${short}-${kind}.so`;
}

/** The file, if the command line has a path rather than a name. */
function givenFile(what: string, name: string): string | undefined {
  if (name === "") throw new ConfigError(`the name of a ${what} is empty`);
  if (!isPath(name)) return undefined;
  // Messages and debug lines show the path.
  const path = absolutePath(name).replaceAll(/\/(?:\.\/+)+/g, "/");
  if (!fileAt(path, name, what).isFile()) throw new ConfigError(`${name}: this is not a file`);
  return path;
}

function fileAt(path: string, name: string, what: string): Stats {
  try {
    return statSync(filePath(path));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const reason = code === "ENOENT" ? `there is no such ${what} file` : messageOf(error);
    throw new ConfigError(`${name}: ${reason}`, { cause: error });
  }
}

function firstOf(what: Kind | "module", short: string, places: readonly string[]): string {
  const found = places.find((place) => isThere(place));
  if (found !== undefined) return found;
  const where = `looked for ${places.join(" and ")}`;
  throw new ConfigError(
    `there is no ${what} named ${quoted(short)}: ${where}${hintFor(what, short)}`,
  );
}

/** A suggestion for a name that no module of this kind has. */
function hintFor(kind: Kind | "module", short: string): string {
  if (kind === "module") return didYouMean(short, [...namesOf("plugin"), ...namesOf("filter")]);
  const near = didYouMean(short, namesOf(kind));
  const other = kind === "plugin" ? "filter" : "plugin";
  if (namesOf(other).includes(short)) {
    return `: ${short} is a ${other}: ${other === "filter" ? `--filter=${short} puts it on top of a plugin` : "it goes without --filter"}`;
  }
  return near === "" ? didYouMean(short, namesOf(other), (name) => `the ${other} ${name}`) : near;
}

/** The short names of this server's modules and of installed modules of a kind. */
function namesOf(kind: Kind): readonly string[] {
  const { filterdir, plugindir } = moduleDirectories();
  const installed = new RegExp(`^nbdkit-(.+)-${kind}(\\.so)?$`);
  const files = namesIn(kind === "filter" ? filterdir : plugindir);
  return [
    ...namesIn(join(root, `${kind}s`)),
    ...files.flatMap((file) => installed.exec(file)?.[1] ?? []),
  ];
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(filePath(folder)).toSorted();
  } catch {
    // No C module is installed.
    return [];
  }
}

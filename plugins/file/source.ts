/** The source of the disks: one file, or the files of a directory by export name. */
import { fstatSync, type Stats, statSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";

import { ConfigError, filePath, NbdError, type Param, quoted, realPath, textOf } from "#api";

import { unfit } from "./open-file.ts";

export interface Source {
  readonly kind: "directory" | "file";
  readonly path: string;
}

/** The parameters that name the source. */
interface Choice {
  readonly file: string | undefined;
  readonly dir: string | undefined;
  readonly fd: number | undefined;
  readonly dirfd: number | undefined;
}

/** As in nbdkit, a second file is an error and does not replace the first one. */
export function once<T>(it: Param<T>): Param<T> {
  return {
    ...it,
    parse(text, key, current) {
      if (current === undefined) return it.parse(text, key, current);
      throw new ConfigError(`${key}=${text}: it was given before: expected one value`);
    },
  };
}

/** Throws a ConfigError unless exactly one is given and the file can be served. */
export function sourceOf(choice: Choice): Source {
  const given = (["file", "dir", "fd", "dirfd"] as const).filter(
    (key) => choice[key] !== undefined,
  );
  const [key] = given;
  if (key === undefined) {
    throw new ConfigError("file: file= is required, or one of dir=, fd= and dirfd= instead");
  }
  if (given.length > 1) {
    const all = given.map((it) => `${it}=`).join(" and ");
    throw new ConfigError(`file: ${all} exclude each other: expected one of them`);
  }
  const value = choice[key];
  const kind = key === "file" || key === "fd" ? "file" : "directory";
  const isNumber = typeof value === "number";
  const name = isNumber ? `${key}=${value}` : String(value);
  let path: string;
  let found: Stats;
  try {
    // Links that change later must not give clients different disks.
    path = isNumber ? `/dev/fd/${value}` : realPath(name);
    found = isNumber ? fstatSync(value) : statSync(filePath(path));
  } catch (error) {
    throw new ConfigError(`file: ${NbdError.from(error, name).message}`, { cause: error });
  }
  const wrong = unlike(kind, key, isNumber ? name : path, found);
  if (wrong !== undefined) throw new ConfigError(`file: ${wrong}`);
  return { kind, path };
}

/** The file for a client. Throws if the directory has no such file. */
export function fileIn(source: Source, exportName: string): string {
  if (source.kind === "file") return source.path;
  if (exportName === "" || /[/\0]/.test(exportName)) {
    const name = quoted(exportName);
    throw new NbdError(
      "EINVAL",
      `export name ${name}: expected the name of a file in ${source.path}, without "/"`,
    );
  }
  return `${source.path}/${exportName}`;
}

/** The names of files and block devices in a directory, including the targets of symbolic links. */
export async function namesIn(path: string): Promise<string[]> {
  try {
    const entries = await entriesOf(path);
    const served = entries.map(({ name, kind }) =>
      kind === undefined ? isServed(`${path}/${name}`) : kind === "file",
    );
    const found = await Promise.all(served);
    return entries.flatMap(({ name }, index) => (found[index] === true ? name : [])).toSorted();
  } catch (error) {
    throw NbdError.from(error, `reading the directory ${path}`);
  }
}

/** An entry of a directory; `kind` is undefined if only stat(2) knows it. */
interface Entry {
  readonly name: string;
  readonly kind?: "directory" | "file" | undefined;
}

async function entriesOf(path: string): Promise<readonly Entry[]> {
  // Bun reports kinds only together with names in UTF-8.
  const entries = await readdir(filePath(path), { withFileTypes: true });
  if (entries.some(({ name }) => name.includes("\ufffd"))) {
    return (await readdir(filePath(path), "buffer")).map((name) => ({ name: textOf(name) }));
  }
  return entries.map((entry) => ({
    name: entry.name,
    kind: entry.isFile() ? "file" : entry.isDirectory() ? "directory" : undefined,
  }));
}

/** A dangling link, or a file that was deleted meanwhile, does not count. */
async function isServed(path: string): Promise<boolean> {
  const found = await stat(filePath(path)).catch(() => undefined);
  return found !== undefined && (found.isFile() || found.isBlockDevice());
}

/** Why the file `name` is invalid for the parameter `key`, or undefined. */
function unlike(kind: Source["kind"], key: string, name: string, found: Stats): string | undefined {
  if (kind === "directory") return found.isDirectory() ? undefined : `${name} is not a directory`;
  if (!found.isDirectory()) return unfit(name, found);
  const instead = key === "fd" ? "dirfd" : "dir";
  return `${name} is a directory: use ${instead}= to serve files within it`;
}

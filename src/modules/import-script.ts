/** Imports filters and plugins in TypeScript, and gives them the API. */
import { existsSync, readFileSync } from "node:fs";

import * as api from "../api/index.ts";
import { ConfigError } from "../lib/errors.ts";
import { log } from "../lib/log.ts";
import { realPath } from "../lib/paths.ts";
import { bytesOf, filePath, textOf } from "../lib/text-bytes.ts";
import { stackOf } from "../lib/thrown.ts";
import { stillLoadingMs } from "./limits.ts";

/** The default export of the module at `path`. Throws ConfigError with the reason if the module cannot be loaded. */
export async function importDefault(path: string): Promise<unknown> {
  offerApi();
  try {
    using _ = warnIfSlow(path);
    const module: { readonly default?: unknown } = await import(specifierOf(path));
    return module.default;
  } catch (error) {
    const errors: readonly unknown[] = error instanceof AggregateError ? error.errors : [error];
    const reason = errors.map(loadProblem).join("; ");
    throw new ConfigError(`${path}: the module cannot be loaded: ${reason}`, { cause: error });
  }
}

/** Warn if the module does not load: its top-level code may await something that never happens. */
function warnIfSlow(path: string): Disposable {
  const timer = setTimeout(() => {
    log.warning(
      `${path}: still waiting for this module to be loaded: what does it await outside its functions?`,
    );
  }, stillLoadingMs);
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}

/** The compiler's errors have a position; errors that the module itself throws have a stack. */
function loadProblem(error: unknown): string {
  if (error instanceof BuildMessage && error.position !== null) {
    const { file, line, column } = error.position;
    return `${withPaths(file)}:${line}:${column}: ${error.message}`;
  }
  if (error instanceof BuildMessage || error instanceof ResolveMessage)
    return withPaths(error.message);
  return withPaths(stackOf(error));
}

let offered = false;

/** Modules anywhere can import this server's API as "nbdkit" (or, like our own, as "#api"). */
function offerApi(): void {
  if (offered) return;
  offered = true;
  Bun.plugin({
    name: "nbdkit",
    setup(build) {
      for (const name of ["nbdkit", "#api"]) {
        build.module(name, () => ({ exports: { ...api }, loader: "object" }));
      }
    },
  });
}

/**
 * Bun finds no file whose path is not UTF-8 or has one of the special characters, which have another meaning in import
 * specifiers. Such files are loaded here, by this namespace and the path's bytes in hexadecimal.
 */
const namespace = "nbdkit-bytes";
const special = /[?\\]/;

function specifierOf(path: string): string {
  const real = realPath(path);
  if (real.isWellFormed() && !special.test(real + path)) return path;
  loadBytePaths();
  return `${namespace}:${hexOf(real)}`;
}

/** Bun's text with these hexadecimal names replaced by the paths. */
function withPaths(text: string): string {
  return text.replaceAll(new RegExp(`${namespace}:([0-9a-f]+)`, "g"), (_, hex: string) =>
    pathOf(hex),
  );
}

function hexOf(path: string): string {
  return Buffer.from(bytesOf(path)).toString("hex");
}

function pathOf(hex: string): string {
  return textOf(Buffer.from(hex, "hex"));
}

let loading = false;

function loadBytePaths(): void {
  if (loading) return;
  loading = true;
  Bun.plugin({
    name: namespace,
    setup(build) {
      build.onResolve({ filter: /./ }, ({ path, importer }) => {
        const [kind, hex = ""] = importer.split(":");
        if (kind !== namespace || !/^\.\.?\//.test(path)) return undefined;
        // Without node:path, which damages text that is not UTF-8.
        const target = pathOf(hex).replace(/[^/]*$/, path);
        if (!existsSync(filePath(target))) return undefined;
        return { path: hexOf(realPath(target)), namespace };
      });
      build.onLoad({ filter: /./, namespace }, ({ path }) => {
        const file = pathOf(path);
        const loader = file.endsWith("ts") ? "ts" : "js";
        return { contents: readFileSync(filePath(file), "utf8"), loader };
      });
    },
  });
}

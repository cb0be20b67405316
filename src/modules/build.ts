/** Loads the modules that the command line names, and makes a chain of them. */
import { accessSync, closeSync, constants, openSync, readSync } from "node:fs";

import type { ChosenLayout } from "#abi/recognise/releases";

import { Chain } from "../chain/chain.ts";
import type { Layer } from "../chain/layer.ts";
import { lifeCycle } from "../chain/outside.ts";
import type { DebugFlags } from "../lib/debug-flags.ts";
import { ConfigError } from "../lib/errors.ts";
import { log } from "../lib/log.ts";
import { realPath } from "../lib/paths.ts";
import { quoted } from "../lib/quoted.ts";
import { nameModule } from "../lib/speaker.ts";
import { filePath } from "../lib/text-bytes.ts";
import { messageOf } from "../lib/thrown.ts";
import { findModule, isOurs } from "./find.ts";
import { importDefault } from "./import-script.ts";
import { typescriptLayer } from "./typescript.ts";

export interface ChainRequest {
  /** A short name or a path. */
  readonly plugin: string;
  /** Outermost first. */
  readonly filters: readonly string[];
  /** The values of --filter-release: the filter as --filter names it, and its layout. */
  readonly releases?: ReadonlyMap<string, ChosenLayout>;
  /** They are set before a module's `load`. */
  readonly debugFlags?: DebugFlags;
  /** The server's version, which is the default version of filters and of the server's own plugins. */
  readonly version?: string;
  /** The most native threads that one connection may hold. */
  readonly threads?: number | undefined;
}

const scriptNames = /\.[cm]?[jt]s$/;

/** Load the plugin, then the filters from the innermost out, and call each one's `load`. */
export async function loadChain(request: ChainRequest): Promise<Chain> {
  const layers = [await loadLayer("plugin", request.plugin, request)];
  for (const name of request.filters.toReversed()) {
    layers.unshift(await loadLayer("filter", name, request));
  }
  return new Chain(layers);
}

async function loadLayer(
  kind: "filter" | "plugin",
  name: string,
  request: ChainRequest,
): Promise<Layer> {
  const path = findModule(kind, name);
  log.debug(`registering ${kind} ${path}`);
  const layer = scriptNames.test(path)
    ? await scriptLayer(kind, name, path, request)
    : await nativeLayer(kind, name, path, request);
  log.debug(`registered ${kind} ${path} (name ${layer.name})`);
  log.debug(`${layer.name}: load`);
  await lifeCycle(layer, "load", () => layer.load?.());
  return layer;
}

async function scriptLayer(
  kind: "filter" | "plugin",
  name: string,
  path: string,
  { debugFlags, releases, version }: ChainRequest,
): Promise<Layer> {
  const chosen = kind === "filter" ? releases?.get(name) : undefined;
  if (chosen !== undefined) {
    throw new ConfigError(
      `option ${chosen.option}: ${quoted(name)} is a filter in TypeScript: expected a filter in C`,
    );
  }
  checkReadable(path);
  const since = kind === "filter" || isOurs(path) ? version : undefined;
  const layer = typescriptLayer(kind, await importDefault(path), path, since);
  // Stack traces have the path without symbolic links.
  nameModule(realPath(path), layer.name);
  // Only C modules have variables for -D.
  debugFlags?.apply(layer.name, () => false);
  return layer;
}

async function nativeLayer(
  kind: "filter" | "plugin",
  name: string,
  path: string,
  request: ChainRequest,
): Promise<Layer> {
  if (!isElf(path)) {
    throw new ConfigError(
      `${path}: this is neither a shared object (ELF file) nor a script (.ts or .js): it cannot be used as a ${kind}`,
    );
  }
  // Only a chain with C in it pays for the native runtime.
  const { loadNativeLayer } = await import("#abi/adapters/module");
  return loadNativeLayer(kind, path, {
    release: request.releases?.get(name),
    debugFlags: request.debugFlags,
    threads: request.threads ?? 16,
  });
}

function isElf(path: string): boolean {
  const magic = new Uint8Array(4);
  try {
    const file = openSync(filePath(path), "r");
    try {
      readSync(file, magic);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw unreadable(path, error);
  }
  return magic[0] === 0x7f && String.fromCharCode(...magic.subarray(1)) === "ELF";
}

/** Bun would report an unreadable file in words of its own. */
function checkReadable(path: string): void {
  try {
    accessSync(filePath(path), constants.R_OK);
  } catch (error) {
    throw unreadable(path, error);
  }
}

function unreadable(path: string, error: unknown): ConfigError {
  const reason = messageOf(error);
  return new ConfigError(`${path}: the module cannot be read: ${reason}`, { cause: error });
}

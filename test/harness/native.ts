/** Builds chains with compiled C modules in the test process. */
import { loadNativeLayer, type NativeOptions } from "#abi/adapters/module";
import type { ChosenLayout, ReleaseId } from "#abi/recognise/releases";
import { typescriptLayer } from "#modules/typescript";

import type { Chain, ChainConnection } from "../../src/chain/chain.ts";
import type { Layer } from "../../src/chain/layer.ts";
import {
  clientOf,
  configuredChain,
  diskPlugin,
  openConnection,
  type StackOptions,
} from "./chain.ts";

/** A compiled module as a layer. */
export function nativeLayer(
  kind: "filter" | "plugin",
  path: string,
  { release, ...options }: NativeLayerOptions = {},
): Layer {
  return loadNativeLayer(kind, path, { threads: 16, release: chosen(release), ...options });
}

interface NativeLayerOptions extends Partial<Omit<NativeOptions, "release">> {
  readonly release?: ReleaseId | undefined;
}

/** The layout that --filter-release=FILTER=`id` would choose. */
export function chosen(id: ReleaseId | undefined): ChosenLayout | undefined {
  return id && { id, option: "--filter-release", text: id };
}

export function scriptLayer(kind: "filter" | "plugin", definition: unknown): Layer {
  return typescriptLayer(kind, definition, "test");
}

const layers = new Map<string, Promise<Layer>>();

/** Make one layer for each key, since the runtime holds a limited number of modules. Loading a layer resets it. */
export function layerOnce(key: string, make: () => Promise<Layer>): Promise<Layer> {
  let layer = layers.get(key);
  if (layer === undefined) layers.set(key, (layer = make()));
  return layer;
}

export interface NativeStack extends AsyncDisposable {
  readonly chain: Chain;
  readonly disk: Uint8Array;
  readonly calls: string[];
  /** Open another connection, which the stack closes. */
  connect(readonly?: boolean): Promise<ChainConnection>;
}

let connections = 0;

/** Configure `filters` (outermost first) over `plugin`, or over an in-memory disk. */
export async function nativeStack(
  filters: readonly Layer[],
  texts: Readonly<Record<string, string>> = {},
  options: StackOptions & { readonly plugin?: Layer; readonly size?: number } = {},
): Promise<NativeStack> {
  const disk = Uint8Array.from({ length: options.size ?? 65536 }, (_, i) => (i * 7) % 251);
  const calls: string[] = [];
  const plugin = options.plugin ?? scriptLayer("plugin", diskPlugin(disk, calls, options));
  const chain = await configuredChain([...filters, plugin], texts);
  const open: ChainConnection[] = [];
  return {
    chain,
    disk,
    calls,
    async connect(readonly = false) {
      const client = clientOf(chain, ++connections);
      const connection = await openConnection(chain, { client, readonly });
      open.push(connection);
      return connection;
    },
    async [Symbol.asyncDispose]() {
      for (const connection of open) await connection.close();
      await chain.cleanup();
      await chain.unload();
    },
  };
}

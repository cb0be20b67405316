/** What a module in TypeScript exports: `export default defineFilter({...})` or `definePlugin({...})`. */
import type {
  Awaitable,
  FilterMethods,
  NextDefaultExport,
  NextListExports,
  NextOpen,
  NextPreconnect,
  PluginMethods,
} from "#abi/generated/methods.gen";

import type { Exports } from "../lib/exports.ts";
import type { Client } from "./client.ts";
import type { Params, Values } from "./params.ts";

interface Described<P extends Params> {
  /** ASCII letters, digits and '-', not starting with '-'. */
  readonly name: string;
  readonly longName?: string;
  readonly version?: string;
  readonly description?: string;
  /** The parameters it takes. What is not in the table goes on to the layer below. */
  readonly params?: P;
}

type WithClient = "defaultExport" | "listExports" | "open" | "preconnect";

/** The methods that are told of the client; in C they ask nbdkit_export_name and the like. */
interface FilterClientMethods<C, H> {
  /** A client connected, and nothing was said yet. To throw refuses it. */
  preconnect?(next: NextPreconnect, config: C, readonly: boolean, client: Client): Awaitable<void>;
  /**
   * A client asks which exports there are. Add them to `exports`; `exports.useDefault()` stands for what
   * defaultExport answers. Without it: what the layer below says.
   */
  listExports?(
    next: NextListExports,
    config: C,
    readonly: boolean,
    isTls: boolean,
    exports: Exports,
    client: Client,
  ): Awaitable<void>;
  /** The name of the export that a client gets who asks for the empty name. Undefined: there is none. */
  defaultExport?(
    next: NextDefaultExport,
    config: C,
    readonly: boolean,
    isTls: boolean,
    client: Client,
  ): Awaitable<string | undefined>;
  /**
   * A client wants to use the disk. Returns the handle that the connection's other methods get. A filter calls
   * `next`, before or after its own work.
   */
  open?(
    next: NextOpen,
    config: C,
    readonly: boolean,
    exportName: string,
    isTls: boolean,
    client: Client,
  ): Awaitable<H>;
}

/** The same, of plugins. */
interface PluginClientMethods<C, H> {
  /** A client connected, and nothing was said yet. To throw refuses it. */
  preconnect?(config: C, readonly: boolean, client: Client): Awaitable<void>;
  /**
   * A client asks which exports there are. Add them to `exports`; `exports.useDefault()` stands for what
   * defaultExport answers. Without it: just that one.
   */
  listExports?(
    config: C,
    readonly: boolean,
    isTls: boolean,
    exports: Exports,
    client: Client,
  ): Awaitable<void>;
  /**
   * The name of the export that a client gets who asks for the empty name. Undefined: there is none. Without it:
   * the empty name.
   */
  defaultExport?(
    config: C,
    readonly: boolean,
    isTls: boolean,
    client: Client,
  ): Awaitable<string | undefined>;
  /** A client wants to use the disk. Returns the handle that the connection's other methods get. */
  open(
    config: C,
    readonly: boolean,
    exportName: string,
    isTls: boolean,
    client: Client,
  ): Awaitable<H>;
}

/**
 * A filter. Methods that are left out pass through to the layer below. `open` returns the handle
 * that the other methods get; a filter without `open` gets its parameters' values instead.
 */
export interface FilterDefinition<P extends Params, H>
  extends
    Described<P>,
    Omit<FilterMethods<Values<P>, H>, WithClient>,
    FilterClientMethods<Values<P>, H> {
  readonly kind?: "filter";
}

/** A plugin, the lowest layer. */
export interface PluginDefinition<P extends Params, H>
  extends
    Described<P>,
    Omit<PluginMethods<Values<P>, H>, WithClient>,
    PluginClientMethods<Values<P>, H> {
  readonly kind?: "plugin";
  /**
   * An open file whose bytes are those of the disk, at the same offsets, until `close`; undefined where there is none.
   * C filters above may then read and write it themselves instead of calling pread, and pwrite without flags.
   */
  descriptor?(handle: H): number | undefined;
  /** The key that a bare word on the command line stands for. */
  readonly magicConfigKey?: keyof P & string;
}

/**
 * Declare a filter.
 *
 * @example
 * export default defineFilter({
 *   name: "half",
 *   params: {},
 *   async getSize(next) {
 *     return (await next.getSize()) / 2n;
 *   },
 * });
 */
export function defineFilter<const P extends Params = {}, H = Values<P>>(
  filter: FilterDefinition<P, H>,
): FilterDefinition<P, H> & { readonly kind: "filter" } {
  return { ...filter, kind: "filter" };
}

/**
 * Declare a plugin.
 *
 * @example
 * export default definePlugin({
 *   name: "ones",
 *   open: () => ({}),
 *   getSize: () => 1048576n,
 *   pread: (_handle, buf) => { buf.fill(0xff); },
 * });
 */
export function definePlugin<const P extends Params = {}, H = Values<P>>(
  plugin: PluginDefinition<P, H>,
): PluginDefinition<P, H> & { readonly kind: "plugin" } {
  return { ...plugin, kind: "plugin" };
}

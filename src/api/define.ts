/** The default export of a TypeScript module: `export default defineFilter({...})` or `definePlugin({...})`. */
import type { Awaitable, FilterMethods, PluginMethods } from "./generated/methods.gen.ts";
import type { Params, Values } from "./params.ts";

interface Described<P extends Params> {
  /**
   * A successful `pread` has filled its whole buffer, by itself or through `next.pread`. Without
   * this the server clears the buffer first, so that bytes that `pread` skips are zeroes rather
   * than earlier data.
   */
  readonly fillsReads?: boolean;
  /** ASCII letters, digits and '-', not starting with '-'. */
  readonly name: string;
  readonly longName?: string;
  readonly version?: string;
  readonly description?: string;
  /** The module's parameters. Keys that are not in the table go to the layer below. */
  readonly params?: P;
}

/**
 * A filter. Calls of missing methods pass through to the layer below. `open` returns the handle
 * that the other methods get; a filter without `open` gets its parameters' values instead.
 */
export interface FilterDefinition<P extends Params, H>
  extends Described<P>, FilterMethods<Values<P>, H> {
  readonly kind?: "filter";
  /**
   * The part of the layer below that the filter serves, unchanged: its byte 0 is byte `offset`
   * there. Called once for each open, after `prepare`. From it the server derives getSize, pread,
   * pwrite, trim, zero, extents and cache, so the filter has none of these. A window that ends
   * beyond the layer below makes the connection fail with EINVAL.
   */
  window?(handle: H): Awaitable<Window>;
}

/** A range of the layer below, in bytes. */
export interface Window {
  readonly offset: bigint;
  /** Undefined: up to the end of the layer below. */
  readonly size?: bigint | undefined;
}

/** A plugin, the lowest layer. */
export interface PluginDefinition<P extends Params, H>
  extends Described<P>, PluginMethods<Values<P>, H> {
  readonly kind?: "plugin";
  /**
   * The descriptor of an open file whose bytes are those of the disk, at the same offsets, until
   * `close`; undefined where there is none. Called once for each open. Reads, and writes without
   * flags, may then go to the file instead of `pread` and `pwrite`. The plugin keeps the
   * descriptor, and closes it.
   */
  descriptor?(handle: H): Awaitable<number | undefined>;
  /**
   * A range that `extents` reports as zeroes reads as zeroes now. The server may then answer large
   * reads from `extents`, and calls `pread` for the rest only.
   */
  readonly extentsAnswerReads?: boolean;
  /** The key for a value without a key on the command line. */
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
  return withKind(filter, "filter");
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
  return withKind(plugin, "plugin");
}

/** The copy keeps the prototype, since the server refuses instances of classes. */
function withKind<T extends object, const K extends string>(
  definition: T,
  kind: K,
): T & { readonly kind: K } {
  const prototype = Object.getPrototypeOf(definition) as object | null;
  return Object.assign(Object.create(prototype) as object, definition, { kind });
}

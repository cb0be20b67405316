/** The default export of a TypeScript module: `export default defineFilter({...})` or `definePlugin({...})`. */
import type { FilterMethods, PluginMethods } from "./generated/methods.gen.ts";
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
   * The server calls `pread` for every read, for filters that refuse, delay or count reads.
   * Otherwise, if the filter has both `pread` and `extents`, the server may report zeroes in reads
   * from `extents`, without calling `pread`.
   */
  readonly everyRead?: boolean;
  /**
   * For filters whose `pread` does nothing but to read from the layer below, always the same
   * number of bytes further on: that number. Where the plugin has a `descriptor` the server then
   * may send what the file has, without calling `pread`.
   */
  shift?(handle: H): bigint;
}

/** A plugin, the lowest layer. */
export interface PluginDefinition<P extends Params, H>
  extends Described<P>, PluginMethods<Values<P>, H> {
  readonly kind?: "plugin";
  /**
   * An open file whose bytes are those of the disk, at the same offsets, until `close`; undefined where there is none.
   * C filters above may then read and write it themselves instead of calling pread, and pwrite without flags, and the
   * server may send clients what it has.
   */
  descriptor?(handle: H): number | undefined;
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

/**
 * The one interface of all layers: TypeScript filter, TypeScript plugin, C filter and C plugin are
 * its four adapters.
 */
import type { Window } from "../api/define.ts";
import type {
  Awaitable,
  NextConfig,
  NextConfigComplete,
  NextOps,
  ThreadModel,
} from "../api/generated/methods.gen.ts";
import type { Client } from "../lib/client.ts";
import type { Exports } from "../lib/exports.ts";

/** What layers may know of the client's connection. The protocol keeps it up to date. */
export interface ConnectionInfo extends Client {
  /** `memory[3]`, what log lines about this connection start with; empty for a connection of no client. */
  readonly logName: string;
  exportName?: string | undefined;
  isTls: boolean;
  /**
   * What is called on the thread that C modules were loaded on: "all", or "control", which is all
   * but requests for data. By default nothing.
   */
  readonly lifecycleThread?: "all" | "control" | undefined;
  /**
   * Whether all C layers run on one thread of the connection's own, as in nbdkit where requests are
   * not run in parallel.
   */
  readonly ownThread?: (() => boolean) | undefined;
  tlsNames?: Client["tlsNames"];
}

/** A call on behalf of a client whose layers need not be open. */
export interface Visit {
  readonly connection: ConnectionInfo;
  /** The parked native thread that the call is bound to, if any. */
  readonly thread: unknown;
}

/**
 * One layer in one connection, as its adapter sees it. `next` is the checked layer below.
 * A context may be *bound*: then it stands for one request that a native thread is parked for,
 * and C layers further down must run on that thread.
 */
export interface LayerContext extends NextOps, Visit {
  /** What the layer's `open` returned. */
  readonly handle: unknown;
  /** The layer below; undefined in a plugin. `setNext` changes it: ask again for each call. */
  readonly next: LayerContext | undefined;
  /** The same context for a request that is bound to `thread`. */
  bind(thread: unknown): LayerContext;

  /** Close this layer and those below, if they are open, then open and prepare them anew. */
  reopen(readonly: boolean, exportName: string): Awaitable<void>;
  /**
   * Open the layers below this one once more: they know nothing of those that `next` stands for. The caller that opened
   * them prepares, finalizes and closes them, or makes them its `next`. `shared`: on behalf of no client.
   */
  openNext(readonly: boolean, exportName: string, shared: boolean): Awaitable<LayerContext>;
  /** Prepare what `openNext` returned. */
  prepare(): Awaitable<void>;
  /** Finalize what `openNext` returned. Throws where a layer failed; all had their turn nevertheless. */
  finalize(): Awaitable<void>;
  /** Close what `openNext` returned. */
  close(): Awaitable<void>;
  /**
   * The layer that plain requests of this kind end up in: those without flags that lie within the disk. Undefined while
   * that is not known. Holds until a layer gets others below it, or is finalized.
   */
  target(method: DirectMethod): Target | undefined;
  /** Put another layer below this one, or none, and return the one that was there. */
  setNext(next: LayerContext | undefined): LayerContext | undefined;
}

/** Requests that need not go through every layer. */
export type DirectMethod = "cache" | "flush" | "pread" | "pwrite" | "trim";

/** What a read can be answered from without calling the layer that it ends up in. */
export interface Source {
  /** So many bytes further on that layer has what the requests are for. */
  readonly offset: bigint;
  /** Of the disk that the requests are for, in bytes: the seam has to look at a request that reaches beyond it. */
  readonly size: bigint;
  /** Of a file whose bytes are those of that layer, if there is one. */
  readonly descriptor: number | undefined;
  /** What the layers' extents report as zeroes need not be read. */
  readonly extentsAnswerReads: boolean;
}

/** The layer that requests end up in, as all above it leave them alone. */
export interface Target extends Source {
  readonly layer: Layer;
  /** What the layer's `open` returned. */
  readonly handle: unknown;
}

/** The layers below one, while it has no context of its own: what C calls a backend. */
export interface LayersBelow {
  /** Open them, as LayerContext.openNext does. Without a connection they are shared. */
  open(
    readonly: boolean,
    exportName: string,
    shared: boolean,
    visit?: Visit,
  ): Awaitable<LayerContext>;
}

/**
 * Asks the layer below, when no context is at hand. `thread` is the native thread that the caller
 * is parked on, if it is one.
 */
type LayerNextPreconnect = (readonly: boolean, thread?: unknown) => Awaitable<void>;
type LayerNextListExports = (
  readonly: boolean,
  exports: Exports,
  thread?: unknown,
) => Awaitable<void>;
type LayerNextDefaultExport = (
  readonly: boolean,
  thread?: unknown,
) => Awaitable<string | undefined>;

/** Opens the layer below; `thread` is the native thread that the caller is parked on, if it is one. */
type LayerNextOpen = (readonly: boolean, exportName: string, thread?: unknown) => Awaitable<void>;

/** The parameters of one instance of a module in TypeScript. */
interface LayerParameters {
  /** The same object for all instances of the module. */
  readonly module: object;
  /** By their keys. Each instance has an object of its own. */
  readonly values: Record<string, unknown>;
}

/** What the layer above calls. Without one of these the call goes on to the layer below, or a plugin has a default. */
type ConnectionMethods = {
  readonly [M in keyof NextOps]?: (
    context: LayerContext,
    ...values: Parameters<NextOps[M]>
  ) => ReturnType<NextOps[M]>;
};

/**
 * A filter or plugin in the chain, like nbdkit's `struct backend`. Adapters implement only what their
 * module has and check nothing; checked.ts supplies the defaults, the fall-backs and the checks.
 */
export interface Layer extends ConnectionMethods {
  readonly kind: "filter" | "plugin";
  readonly name: string;
  /** The file it came from. */
  readonly path: string;
  readonly longName?: string | undefined;
  readonly version?: string | undefined;
  readonly description?: string | undefined;
  readonly configHelp?: string | undefined;
  /** Of its parameters, aliases included; undefined where only `configHelp` tells some of them. */
  readonly keys?: readonly string[];
  readonly magicConfigKey?: string | undefined;
  /** The chain gives all instances of a module the same values. */
  readonly parameters?: LayerParameters;
  /** Messages name the methods of such a layer as its author has written them. */
  readonly inTypeScript?: boolean;
  /** What `extents` of this plugin reports as zeroes need not be read. */
  readonly extentsAnswerReads?: boolean;
  /** `key=value` pairs for --dump-plugin that only the adapter knows: api_version, struct_size, has_X. */
  readonly dumpFields: readonly (readonly [string, string])[];

  /** Called once, when the chain is made: what is below the layer. */
  attach?(below: LayersBelow | undefined): void;
  load?(): Awaitable<void>;
  unload?(): Awaitable<void>;
  config?(next: NextConfig, key: string, value: string): Awaitable<void>;
  configComplete?(next: NextConfigComplete): Awaitable<void>;
  /** The largest model the layer can be run with; undefined: any. `next` is what the layers below allow. */
  threadModel?(next: ThreadModel): Awaitable<ThreadModel | undefined>;
  /** Print what the module adds to --dump-plugin. */
  dumpPlugin?(): Awaitable<void>;
  getReady?(threadModel: ThreadModel): Awaitable<void>;
  afterFork?(): Awaitable<void>;
  cleanup?(): Awaitable<void>;
  preconnect?(next: LayerNextPreconnect, readonly: boolean, visit: Visit): Awaitable<void>;
  listExports?(
    next: LayerNextListExports,
    readonly: boolean,
    isTls: boolean,
    exports: Exports,
    visit: Visit,
  ): Awaitable<void>;
  defaultExport?(
    next: LayerNextDefaultExport,
    readonly: boolean,
    isTls: boolean,
    visit: Visit,
  ): Awaitable<string | undefined>;

  /** Returns the handle. A filter calls `next` itself. Without it the handle is undefined. */
  open?(
    context: LayerContext,
    next: LayerNextOpen,
    readonly: boolean,
    exportName: string,
    isTls: boolean,
  ): Awaitable<unknown>;
  /** The address of the handle for debug lines. */
  handleAddress?(handle: unknown): number;
  close?(context: LayerContext): Awaitable<void>;
  prepare?(context: LayerContext, readonly: boolean): Awaitable<void>;
  finalize?(context: LayerContext): Awaitable<void>;
  /**
   * A file whose bytes are those of the disk, at the same offsets, until the plugin is closed:
   * layers above may read and write it instead. Asked once, before the first request.
   */
  descriptor?(context: LayerContext): Awaitable<number | undefined>;
  /**
   * The part of the layer below that this filter serves. Asked once, for the size. The
   * `derivedMethods` in window.ts follow from it.
   */
  window?(context: LayerContext): Awaitable<Window>;
  /** Requests keep FLAG_FUA even where canFua answers "emulate": the layer sees to it, as filters of nbdkit do. */
  readonly takesFua?: boolean;
}

/** A layer while it is made: adapters set only what their module has. */
export type Draft = { -readonly [K in keyof Layer]: Layer[K] };

/** The one interface of all layers. It has four adapters: filters and plugins, in TypeScript and in C. */
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

/** The facts about the client's connection that layers may know. The protocol keeps them up to date. */
export interface ConnectionInfo extends Client {
  /** `memory[3]`: the start of log lines about this connection. Empty for a connection of no client. */
  readonly logName: string;
  exportName?: string | undefined;
  isTls: boolean;
  /** The calls that run on the life-cycle thread: "control" is all but requests for data. By default none. */
  readonly lifecycleThread?: "all" | "control" | undefined;
  /** Whether all C layers run on a thread of the connection's own, as in nbdkit without parallel requests. */
  readonly ownThread?: (() => boolean) | undefined;
  tlsNames?: Client["tlsNames"];
}

/** A call on behalf of a client, whose layers need not be open. */
export interface Visit {
  readonly connection: ConnectionInfo;
  /** The parked native thread that the call is bound to, if any. */
  readonly thread: unknown;
}

/**
 * One layer in one connection, as its adapter sees it: the seam that the layer is called through. `next` is the seam to
 * the layer below. If it is bound to a thread, a native thread is parked for the request, and C layers further down
 * must run on that thread.
 */
export interface LayerContext extends NextOps, Visit {
  /** What the layer's `open` returned. */
  readonly handle: unknown;
  /** The layer below; undefined in a plugin. Read it for each call, since `setNext` changes it. */
  readonly next: LayerContext | undefined;
  /** The same context for a request that is bound to `thread`. */
  bind(thread: unknown): LayerContext;

  /** Close this layer and those below, if they are open, then open and prepare them anew. */
  reopen(readonly: boolean, exportName: string): Awaitable<void>;
  /**
   * Open the layers below this one once more, apart from those that `next` leads to. The caller prepares, finalizes and
   * closes them, or makes them its `next`. `shared`: on behalf of no client.
   */
  openNext(readonly: boolean, exportName: string, shared: boolean): Awaitable<LayerContext>;
  /** Prepare what `openNext` returned. */
  prepare(): Awaitable<void>;
  /** Finalize what `openNext` returned. Throws the first failure when all layers have had their turn. */
  finalize(): Awaitable<void>;
  /** Close what `openNext` returned. */
  close(): Awaitable<void>;
  /**
   * The layer that requests of this kind end up in, if they have no flags and lie within the disk. Undefined while that
   * is not known. It stays the same until a layer gets other layers below it, or is finalized.
   */
  target(method: DirectMethod): Target | undefined;
  /** Put another layer below this one, or none, and return the previous one. */
  setNext(next: LayerContext | undefined): LayerContext | undefined;
}

/** Requests that need not go through every layer. */
export type DirectMethod = "cache" | "flush" | "pread" | "pwrite" | "trim";

/** What the server needs to answer a read without calling the layer that it ends up in. */
export interface Source {
  /** The distance from an offset of the request to the offset of the same data in that layer. */
  readonly offset: bigint;
  /** The size in bytes of the disk that the requests are for. Requests beyond it must go through the seam. */
  readonly size: bigint;
  /** The file whose bytes are those of that layer, if there is one. */
  readonly descriptor: number | undefined;
  /** Whether ranges that the layers' extents report as zeroes need not be read. */
  readonly extentsAnswerReads: boolean;
}

/** The layer that requests end up in, since all layers above it leave them alone. */
export interface Target extends Source {
  readonly layer: Layer;
  /** What the layer's `open` returned. */
  readonly handle: unknown;
}

/** The layers below a layer that has no context of its own: in C, a backend. */
export interface LayersBelow {
  /** Open the layers, as LayerContext.openNext does. Without a connection they are shared. */
  open(
    readonly: boolean,
    exportName: string,
    shared: boolean,
    visit?: Visit,
  ): Awaitable<LayerContext>;
}

/** Asks the layer below, without a context. `thread` is the native thread that is parked for the answer, if any. */
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

/** Opens the layer below. `thread` is the native thread that is parked for the answer, if any. */
type LayerNextOpen = (readonly: boolean, exportName: string, thread?: unknown) => Awaitable<void>;

/** The parameters of one instance of a module in TypeScript. */
interface LayerParameters {
  /** The same object for all instances of the module. */
  readonly module: object;
  /** The values by key. Each instance has an object of its own. */
  readonly values: Record<string, unknown>;
}

/** The methods that the layer above calls. If one is missing, the layer below is called, or a plugin has a default. */
type ConnectionMethods = {
  readonly [M in keyof NextOps]?: (
    context: LayerContext,
    ...values: Parameters<NextOps[M]>
  ) => ReturnType<NextOps[M]>;
};

/**
 * A filter or plugin in the chain, like nbdkit's `struct backend`. Adapters implement only the methods of their module,
 * and check nothing: the seam has the defaults, the emulation and the checks.
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
  /** The keys of its parameters, aliases included. Undefined if only `configHelp` names them. */
  readonly keys?: readonly string[];
  readonly magicConfigKey?: string | undefined;
  /** The chain gives all instances of a module the same values. */
  readonly parameters?: LayerParameters;
  /** Messages name the methods of such a layer as in TypeScript. */
  readonly inTypeScript?: boolean;
  /** Whether ranges that the plugin's `extents` reports as zeroes need not be read. */
  readonly extentsAnswerReads?: boolean;
  /** The lines of --dump-plugin that only the adapter knows: api_version, struct_size, has_X. */
  readonly dumpFields: readonly (readonly [string, string])[];

  /** Called once, when the chain is made. */
  attach?(below: LayersBelow | undefined): void;
  load?(): Awaitable<void>;
  unload?(): Awaitable<void>;
  config?(next: NextConfig, key: string, value: string): Awaitable<void>;
  configComplete?(next: NextConfigComplete): Awaitable<void>;
  /** The most parallel model that the layer allows; undefined: any. `next` is what the layers below allow. */
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

  /** Returns the handle. A filter must call `next`. Without this method the handle is undefined. */
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
   * The file whose bytes are those of the disk, at the same offsets, until the plugin is closed. Layers above may read
   * and write it instead. Called once, before the first request.
   */
  descriptor?(context: LayerContext): Awaitable<number | undefined>;
  /** The part of the layer below that this filter serves. It replaces the `derivedMethods` of window.ts. */
  window?(context: LayerContext): Awaitable<Window>;
  /** Requests keep FLAG_FUA even if canFua answers "emulate": the layer emulates FUA, as filters of nbdkit do. */
  readonly takesFua?: boolean;
}

/** A layer while its adapter sets the methods of its module. */
export type Draft = { -readonly [K in keyof Layer]: Layer[K] };

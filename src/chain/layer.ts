/** The one interface of all layers: TypeScript filter, TypeScript plugin, C filter and C plugin are its four adapters. */
import type {
  Awaitable,
  NextConfig,
  NextConfigComplete,
  NextOps,
  NextPreconnect,
  Support,
  ThreadModel,
} from "#abi/generated/methods.gen";

/** What layers may know of the client's connection. */
export interface ConnectionInfo {
  /** Counts from 1; log lines show it in brackets. */
  readonly id: number;
  /** `memory[3]`, what log lines about this connection start with. */
  readonly logName: string;
}

/**
 * One layer in one connection, as its adapter sees it. `next` is the checked layer below.
 * A context may be *bound*: then it stands for one request that a native thread is parked for,
 * and C layers further down must run on that thread.
 */
export interface LayerContext extends NextOps {
  readonly connection: ConnectionInfo;
  /** What the layer's `open` returned. */
  readonly handle: unknown;
  /** The layer below; undefined in a plugin. */
  readonly next: LayerContext | undefined;
  /** The parked native thread that this request is bound to, if any. Only abi/ knows what it is. */
  readonly thread: unknown;
  /** The same context for a request that is bound to `thread`. */
  bind(thread: unknown): LayerContext;
}

/** Opens the layer below; `thread` is the native thread that the caller is parked on, if it is one. */
type LayerNextOpen = (readonly: boolean, exportName: string, thread?: unknown) => Awaitable<void>;

/**
 * A filter or plugin in the chain, like nbdkit's `struct backend`. Adapters implement only what their
 * module has and check nothing; checked.ts supplies the defaults, the fall-backs and the checks.
 */
export interface Layer {
  readonly kind: "filter" | "plugin";
  readonly name: string;
  /** The file it came from. */
  readonly path: string;
  readonly longName?: string | undefined;
  readonly version?: string | undefined;
  readonly description?: string | undefined;
  readonly configHelp?: string | undefined;
  readonly magicConfigKey?: string | undefined;
  /** `key=value` pairs for --dump-plugin that only the adapter knows: api_version, struct_size, has_X. */
  readonly dumpFields: readonly (readonly [string, string])[];

  load?(): Awaitable<void>;
  unload?(): Awaitable<void>;
  config?(next: NextConfig, key: string, value: string): Awaitable<void>;
  configComplete?(next: NextConfigComplete): Awaitable<void>;
  /** The largest model the layer can be run with; undefined: any. */
  threadModel?(): Awaitable<ThreadModel | undefined>;
  /** Print what the module adds to --dump-plugin. */
  dumpPlugin?(): Awaitable<void>;
  getReady?(threadModel: ThreadModel): Awaitable<void>;
  afterFork?(): Awaitable<void>;
  cleanup?(): Awaitable<void>;
  preconnect?(next: NextPreconnect, readonly: boolean): Awaitable<void>;

  /** Returns the handle. A filter calls `next` itself unless `serverOpensNext`. Without it the handle is undefined. */
  open?(
    context: LayerContext,
    next: LayerNextOpen,
    readonly: boolean,
    exportName: string,
    isTls: boolean,
  ): Awaitable<unknown>;
  /** After `open` the chain opens the layer below if that has not happened yet (generation S). */
  readonly serverOpensNext?: boolean;
  /** `threadModel` is asked again after each open: only then the layer's form is known. */
  readonly threadModelSettlesAtOpen?: boolean;
  close?(context: LayerContext): Awaitable<void>;
  prepare?(context: LayerContext, readonly: boolean): Awaitable<void>;
  finalize?(context: LayerContext): Awaitable<void>;
  getSize?(context: LayerContext): Awaitable<bigint>;
  canWrite?(context: LayerContext): Awaitable<boolean>;
  canFlush?(context: LayerContext): Awaitable<boolean>;
  isRotational?(context: LayerContext): Awaitable<boolean>;
  canTrim?(context: LayerContext): Awaitable<boolean>;
  canZero?(context: LayerContext): Awaitable<Support>;
  canFastZero?(context: LayerContext): Awaitable<boolean>;
  canFua?(context: LayerContext): Awaitable<Support>;
  canMultiConn?(context: LayerContext): Awaitable<boolean>;
  canCache?(context: LayerContext): Awaitable<Support>;
  pread?(context: LayerContext, buf: Uint8Array, offset: bigint, flags: number): Awaitable<void>;
  pwrite?(context: LayerContext, buf: Uint8Array, offset: bigint, flags: number): Awaitable<void>;
  flush?(context: LayerContext, flags: number): Awaitable<void>;
  trim?(context: LayerContext, count: number, offset: bigint, flags: number): Awaitable<void>;
  zero?(context: LayerContext, count: number, offset: bigint, flags: number): Awaitable<void>;
  cache?(context: LayerContext, count: number, offset: bigint, flags: number): Awaitable<void>;
}

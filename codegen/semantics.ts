/**
 * The meaning that C declarations lack: which int is a boolean, which pointer is filled and with how much, in which
 * field of a message a value is. Headers and tables must match one to one, which one-to-one.ts checks.
 */

/** The structs that a callback can be in. */
export type Place = "filter" | "next" | "plugin";

/** The meaning of a C return value. The value on failure follows from it: see `failure`. */
export type Returns =
  | "nothing"
  /** 0, or -1. */
  | "ok"
  /** 0 or 1, or -1. */
  | "bool"
  /** NBDKIT_*_NONE, _EMULATE or _NATIVE, or -1. */
  | "support"
  /** NBDKIT_THREAD_MODEL_*, or -1. */
  | "thread-model"
  /** Bytes, or -1. */
  | "size"
  /** The handle for the layer's other methods, or NULL. */
  | "handle"
  /** A string that the callee keeps, or NULL. */
  | "string"
  /** 0 with three numbers stored through pointers, or -1. */
  | "block-size";

/** The value that a C caller gets when the method fails. */
export function failure(returns: Returns): "-1" | "NULL" | undefined {
  if (returns === "nothing") return undefined;
  return returns === "handle" || returns === "string" ? "NULL" : "-1";
}

export interface CallbackMeaning {
  /** The text of its documentation. */
  readonly about: string;
  /** The C structs that have it. */
  readonly in: readonly Place[];
  readonly returns: Returns;
  /** The plugin's return value, if it has another meaning. */
  readonly pluginReturns?: Returns;
  /** The subject of the call: the module, the configured layer, or a connection. */
  readonly scope: "module" | "config" | "connection";
  /** The TypeScript interfaces that have it. */
  readonly offered: readonly Place[];
  /** Every plugin must have it. */
  readonly required?: true;
  /** The type of a filter's `next`, if that is a function. */
  readonly next?: string;
  /** Parameters that `next` does not have. */
  readonly nextLacks?: readonly string[];
  /** Parameters that only TypeScript has, behind those of C. */
  readonly extra?: Extra;
  /** The flags that the request can have, without NBDKIT_FLAG_. Only requests have this column. */
  readonly flags?: readonly string[];
  /** The callback that API 2 has instead of this one. */
  readonly replacedBy?: string;
  /** The answer of a plugin without it. */
  readonly default?: Answer;
  /** The answer of a plugin that lacks it, but has the callback `has`. */
  readonly defaultWith?: { readonly has: string; readonly answer: Answer };
  /** The answer of a filter for a release without it. */
  readonly olderFilter?: OlderFilter;
  /** Asked only if each of these, in this order, does not answer no. Otherwise the answer is no. */
  readonly askedIf?: readonly string[];
}

/** The macro of one of a request's flags. */
export function flagMacro(flag: string): string {
  return `NBDKIT_FLAG_${flag}`;
}

/** The answer to a question, in TypeScript. */
type Answer = boolean | string | Readonly<Record<string, number>>;

/** The answer of a filter that has one of the callbacks `has`, if the question `needs` is not answered no. */
interface OlderFilter {
  readonly has: readonly string[];
  readonly needs?: string;
  readonly answer: Answer;
}

type Extra = { readonly [P in Place]?: readonly (readonly [name: string, type: string])[] };

const everywhere: readonly Place[] = ["filter", "next", "plugin"];
const layers: readonly Place[] = ["filter", "plugin"];
const connection = { scope: "connection", in: everywhere, offered: everywhere } as const;
const configured = { scope: "config", in: layers, offered: layers } as const;
/** C calls nbdkit_export_name and the like instead. */
const withClient: Extra = { filter: [["client", "Client"]], plugin: [["client", "Client"]] };
/** Callbacks of a filter that may move or change data, so that other requests must not pass it unchanged. */
const changing = ["get_size", "pread", "pwrite", "trim", "zero"];
const version1 = { scope: "connection", in: ["plugin"], offered: [], returns: "ok" } as const;

/**
 * The function pointers of the structs, in the order of a layer's life. TypeScript's interfaces and --dump-plugin have
 * the same order.
 */
export const callbacks: Readonly<Record<string, CallbackMeaning>> = {
  load: {
    about: "Called once, right after the module has been loaded.",
    scope: "module",
    in: layers,
    offered: layers,
    returns: "nothing",
  },
  unload: {
    about: "Called once, when the server ends, unless it is killed.",
    scope: "module",
    in: layers,
    offered: layers,
    returns: "nothing",
  },
  dump_plugin: {
    about: "Print more key=value lines for --dump-plugin on stdout.",
    ...configured,
    returns: "nothing",
  },
  config: {
    about: "Take one key=value of the command line that is not in the table of parameters.",
    scope: "config",
    in: layers,
    offered: layers,
    returns: "ok",
    next: "NextConfig",
  },
  config_complete: {
    about: "Called after the last parameter: check that all required parameters are there.",
    scope: "config",
    in: layers,
    offered: layers,
    returns: "ok",
    next: "NextConfigComplete",
  },
  thread_model: {
    about: "The most parallel thread model that the layer supports. Without it: parallel.",
    ...configured,
    returns: "thread-model",
  },
  get_ready: {
    about: "The last chance to fail before clients are served. `threadModel` is the chain's.",
    ...configured,
    returns: "ok",
    extra: { filter: [["threadModel", "ThreadModel"]] },
  },
  after_fork: {
    about: "Called in the serving process before the first client: start background work here.",
    ...configured,
    returns: "ok",
  },
  cleanup: {
    about: "Called when all clients have left and no new ones are accepted: end background work.",
    ...configured,
    returns: "nothing",
  },
  preconnect: {
    about: "Called when a client has connected, before the handshake. An error refuses the client.",
    ...configured,
    returns: "ok",
    next: "NextPreconnect",
    extra: withClient,
  },
  list_exports: {
    about:
      "Called when a client lists the exports. Add them to `exports`; `exports.useDefault()` adds the " +
      "default export. A plugin without it: only the default export.",
    ...configured,
    returns: "ok",
    next: "NextListExports",
    nextLacks: ["is_tls"],
    extra: withClient,
  },
  default_export: {
    about:
      "The name of the export that clients get for the empty name. Undefined: there is none. " +
      "A plugin without it: the empty name.",
    ...configured,
    returns: "string",
    next: "NextDefaultExport",
    nextLacks: ["is_tls"],
    extra: withClient,
  },
  open: {
    about:
      "Called when a client opens the export. Returns the handle for the connection's other methods. " +
      "A filter calls `next`, before or after its own work.",
    scope: "config",
    in: layers,
    offered: layers,
    required: true,
    returns: "handle",
    next: "NextOpen",
    extra: {
      next: [["exportName", "string"]],
      filter: [
        ["exportName", "string"],
        ["isTls", "boolean"],
        ["client", "Client"],
      ],
      plugin: [
        ["exportName", "string"],
        ["isTls", "boolean"],
        ["client", "Client"],
      ],
    },
  },
  close: {
    about: "Called once for every handle, when the connection has ended.",
    scope: "connection",
    in: layers,
    offered: layers,
    returns: "nothing",
  },
  prepare: {
    about: "Called before the first request. The layers below are open and can be called.",
    scope: "connection",
    in: ["filter", "next"],
    offered: ["filter"],
    returns: "ok",
  },
  finalize: {
    about: "Called after the last request. The layers below can still be called.",
    scope: "connection",
    in: ["filter", "next"],
    offered: ["filter"],
    returns: "ok",
  },
  reopen: {
    about: "Close the layers below and open them again.",
    scope: "connection",
    in: ["next"],
    offered: [],
    returns: "ok",
  },
  export_description: {
    about: "A description of the export for clients. Undefined: there is none.",
    ...connection,
    returns: "string",
  },
  get_size: {
    about: "The size of the disk in bytes, 0 to 2^63-1.",
    ...connection,
    returns: "size",
    required: true,
  },
  block_size: {
    about:
      "The smallest, the best and the largest request in bytes. All 0: no information. " +
      "Smallest: a power of 2 up to 65536. Best: a power of 2 from 512 to 32 MiB. " +
      "Largest: a multiple of the smallest, or 0xffffffff for no limit. A plugin without it: all 0.",
    ...connection,
    returns: "block-size",
    default: { minimum: 0, preferred: 0, maximum: 0 },
  },
  can_write: {
    about: "Whether the client may write. A plugin without it: whether it has pwrite.",
    ...connection,
    returns: "bool",
    default: false,
    defaultWith: { has: "pwrite", answer: true },
  },
  can_flush: {
    about: "Whether flush is supported. A plugin without it: whether it has flush.",
    ...connection,
    returns: "bool",
    default: false,
    defaultWith: { has: "flush", answer: true },
  },
  is_rotational: {
    about: "Whether the disk is rotational. A plugin without it: no.",
    ...connection,
    returns: "bool",
    default: false,
  },
  can_trim: {
    about: "Whether trim is supported. A plugin without it: whether it has trim.",
    ...connection,
    returns: "bool",
    default: false,
    defaultWith: { has: "trim", answer: true },
    askedIf: ["can_write"],
  },
  can_zero: {
    about:
      "Whether zero is supported. A plugin answers whether its zero may be used; " +
      "otherwise zeroes are written.",
    ...connection,
    returns: "support",
    pluginReturns: "bool",
    default: "emulate",
    defaultWith: { has: "zero", answer: "native" },
    askedIf: ["can_write"],
    olderFilter: { has: ["zero"], answer: "native" },
  },
  can_fast_zero: {
    about: "Whether zero with FLAG_FAST_ZERO is supported: it fails at once where zeroing is slow.",
    ...connection,
    returns: "bool",
    default: true,
    defaultWith: { has: "zero", answer: false },
    askedIf: ["can_write", "can_zero"],
    olderFilter: { has: ["zero"], answer: false },
  },
  can_extents: {
    about: "Whether extents is supported. A plugin without it: whether it has extents.",
    ...connection,
    returns: "bool",
    default: false,
    defaultWith: { has: "extents", answer: true },
    olderFilter: { has: changing, answer: false },
  },
  can_fua: {
    about: "How FLAG_FUA is supported: not at all, by a flush afterwards, or by the layer itself.",
    ...connection,
    returns: "support",
    default: "none",
    defaultWith: { has: "flush", answer: "emulate" },
    askedIf: ["can_write"],
    // The other callbacks of such a filter have no flags, so the whole layer is flushed.
    olderFilter: { has: ["pwrite", "trim", "zero"], needs: "can_flush", answer: "emulate" },
  },
  can_multi_conn: {
    about: "Whether a flush in one connection covers the writes of all. A plugin without it: no.",
    ...connection,
    returns: "bool",
    default: false,
    // The filter may keep data for one connection, and cannot say that it does not.
    olderFilter: { has: ["pread", "pwrite", "trim", "zero", "flush"], answer: false },
  },
  can_cache: {
    about: "How cache requests are supported: not at all, by reads, or by the layer itself.",
    ...connection,
    returns: "support",
    default: "none",
    defaultWith: { has: "cache", answer: "native" },
    olderFilter: { has: changing, answer: "none" },
  },
  pread: {
    about:
      "Read into all of `buf` from `offset` in bytes. Do not use `buf` afterwards. " +
      "Flags: none yet.",
    ...connection,
    returns: "ok",
    required: true,
    flags: [],
  },
  pwrite: {
    about:
      "Write all of `buf` at `offset` in bytes. Do not change `buf`, and do not use it afterwards. " +
      "Flags: FLAG_FUA.",
    ...connection,
    returns: "ok",
    flags: ["FUA"],
  },
  flush: {
    about: "Write all data to stable storage. Flags: none yet.",
    ...connection,
    returns: "ok",
    flags: [],
  },
  trim: {
    about: "The client no longer needs these `count` bytes. Flags: FLAG_FUA.",
    ...connection,
    returns: "ok",
    flags: ["FUA"],
  },
  zero: {
    about:
      "Make these `count` bytes read as zeroes. Flags: FLAG_MAY_TRIM, FLAG_FUA, FLAG_FAST_ZERO. " +
      "EOPNOTSUPP asks for zeroes to be written instead.",
    ...connection,
    returns: "ok",
    flags: ["MAY_TRIM", "FUA", "FAST_ZERO"],
  },
  extents: {
    about:
      "Report which parts of these `count` bytes are data, holes or zeroes: add them in order to `extents`, " +
      "at least one that begins at or before `offset`. Extents beyond the range are allowed. " +
      "Flags: FLAG_REQ_ONE, the first extent is enough.",
    ...connection,
    returns: "ok",
    flags: ["REQ_ONE"],
  },
  cache: {
    about: "These `count` bytes will be read soon. Flags: none yet.",
    ...connection,
    returns: "ok",
    flags: [],
  },

  _pread_v1: { replacedBy: "pread", about: "pread without flags.", ...version1 },
  _pwrite_v1: { replacedBy: "pwrite", about: "pwrite without flags.", ...version1 },
  _flush_v1: { replacedBy: "flush", about: "flush without flags.", ...version1 },
  _trim_v1: { replacedBy: "trim", about: "trim without flags.", ...version1 },
  _zero_v1: { replacedBy: "zero", about: "zero with may_trim instead of flags.", ...version1 },
};

/** The place of a parameter's value in a message. */
export type Role =
  /** The trampoline with the parameter's type, or the table of trampolines. */
  | { readonly kind: "next" | "next-ops" }
  /** The nxdata or the handle of the layer: a field of struct rt_downcall. */
  | { readonly kind: "layer"; readonly field: string }
  /** A field of the callback's struct: see `messages`. */
  | { readonly kind: "number" | "pointer"; readonly field: string }
  /** A pointer through which the callee stores a number: a field of struct rt_result and struct rt_answer. */
  | { readonly kind: "out"; readonly field: string }
  /** The pointer for the errno of a failure. */
  | { readonly kind: "err" }
  /** Whether this bit of the flags is set. */
  | { readonly kind: "flag"; readonly macro: string };

export interface ParameterMeaning {
  readonly role: Role;
  /** The type in TypeScript. Undefined: TypeScript does not have the parameter. */
  readonly type?: string;
  /** The parameter with the buffer's length, which the callback must have and TypeScript does not have. */
  readonly length?: string;
}

/** The parameters of callbacks and of the functions that call the next layer, by name. */
export const parameters: Readonly<Record<string, ParameterMeaning>> = {
  next: { role: { kind: "next" } },
  next_ops: { role: { kind: "next-ops" } },
  nxdata: { role: { kind: "layer", field: "nxdata" } },
  context: { role: { kind: "layer", field: "nxdata" } },
  backend: { role: { kind: "layer", field: "nxdata" } },
  handle: { role: { kind: "layer", field: "handle" } },
  key: { role: { kind: "pointer", field: "key" }, type: "string" },
  value: { role: { kind: "pointer", field: "value" }, type: "string" },
  readonly: { role: { kind: "number", field: "readonly" }, type: "boolean" },
  buf: { role: { kind: "pointer", field: "buf" }, type: "Uint8Array", length: "count" },
  count: { role: { kind: "number", field: "count" }, type: "number" },
  offset: { role: { kind: "number", field: "offset" }, type: "bigint" },
  flags: { role: { kind: "number", field: "flags" }, type: "number" },
  thread_model: { role: { kind: "number", field: "thread_model" } },
  next_thread_model: { role: { kind: "number", field: "thread_model" } },
  exportname: { role: { kind: "pointer", field: "export_name" } },
  default_only: { role: { kind: "number", field: "default_only" } },
  err: { role: { kind: "err" } },
  is_tls: { role: { kind: "number", field: "is_tls" }, type: "boolean" },
  extents: { role: { kind: "pointer", field: "extents" }, type: "Extents" },
  exports: { role: { kind: "pointer", field: "exports" }, type: "Exports" },
  minimum: { role: { kind: "out", field: "minimum" } },
  preferred: { role: { kind: "out", field: "preferred" } },
  maximum: { role: { kind: "out", field: "maximum" } },
  may_trim: { role: { kind: "flag", macro: "NBDKIT_FLAG_MAY_TRIM" } },
};

/**
 * The members of union rt_arguments in abi/runtime/runtime.h, and the callbacks whose arguments they have. Other
 * callbacks have only the arguments in struct rt_downcall.
 */
const argumentStructs: Readonly<Record<string, readonly string[]>> = {
  setting: ["config"],
  model: ["thread_model", "get_ready"],
  access: ["preconnect", "default_export", "prepare"],
  open: ["open", "reopen"],
  listing: ["list_exports"],
  data: ["pread", "pwrite", "_pread_v1", "_pwrite_v1"],
  range: ["trim", "zero", "cache", "_trim_v1", "_zero_v1"],
  flush: ["flush", "_flush_v1"],
  mapping: ["extents"],
};

/** The member of union rt_arguments that has the arguments of a callback. */
export const messages: ReadonlyMap<string, string> = new Map(
  Object.entries(argumentStructs).flatMap(([member, names]) =>
    names.map((name) => [name, member] as const),
  ),
);

/** The function types through which a filter calls the next layer. */
export const nextFunctions: Readonly<
  Record<
    string,
    {
      /** The callback that it calls in the next layer. */
      readonly callback: string;
      /** Why it returns 0 and does nothing else. */
      readonly done?: string;
    }
  >
> = {
  nbdkit_next_config: { callback: "config" },
  nbdkit_next_config_complete: { callback: "config_complete" },
  nbdkit_next_get_ready: { callback: "get_ready", done: "The layers below are ready already." },
  nbdkit_next_after_fork: { callback: "after_fork", done: "The layers below have begun already." },
  nbdkit_next_preconnect: { callback: "preconnect" },
  nbdkit_next_list_exports: { callback: "list_exports" },
  nbdkit_next_default_export: { callback: "default_export" },
  nbdkit_next_open: { callback: "open" },
};

/** Upcalls other than callbacks: the name of the op, and its meaning. */
export const otherOps: Readonly<Record<string, string>> = {
  context_open: "nbdkit_next_context_open, on a backend's nxdata.",
  context_close: "nbdkit_next_context_close, on what context_open returned.",
  context_set_next: "nbdkit_context_set_next, on a context's nxdata.",
  disconnect: "nbdkit_disconnect.",
};

/** The fields of the structs other than callbacks. */
export const data: Readonly<
  Record<string, { readonly in: readonly Place[]; readonly about: string }>
> = {
  _struct_size: { in: layers, about: "Its size when the module was compiled." },
  _version: { in: ["filter"], about: "The release that the filter was compiled for." },
  _api_version: { in: layers, about: "The API version when the module was compiled." },
  _thread_model: { in: layers, about: "THREAD_MODEL of the module." },
  name: { in: layers, about: "Required." },
  longname: { in: layers, about: "For messages." },
  version: { in: layers, about: "For messages." },
  description: { in: layers, about: "For --help; may have several lines." },
  config_help: { in: layers, about: "For --help: the module's parameters." },
  errno_is_preserved: {
    in: ["plugin"],
    about: "Whether errno counts after a data callback failed.",
  },
  magic_config_key: { in: ["plugin"], about: "The key that a bare word stands for." },
};

/** The methods of layers, by the form that they have in a filter or plugin in TypeScript. */

/**
 * Methods that take (context) and (context, …) in the layer, (next, handle, …) in a filter,
 * (handle, …) in a plugin.
 */
export const perConnection = [
  "finalize",
  "prepare",
  "getSize",
  "exportDescription",
  "blockSize",
  "canWrite",
  "canFlush",
  "isRotational",
  "canTrim",
  "canZero",
  "canFastZero",
  "canExtents",
  "canFua",
  "canMultiConn",
  "canCache",
  "flush",
  "trim",
  "zero",
  "extents",
  "cache",
] as const;

/** Methods that are not called for each request, besides `prepare` and `finalize`. */
export const lifeCycleMethods = [
  "load",
  "unload",
  "config",
  "configComplete",
  "threadModel",
  "dumpPlugin",
  "getReady",
  "afterFork",
  "cleanup",
  "preconnect",
  "listExports",
  "defaultExport",
  "open",
  "close",
] as const;

/** Everything that TypeScript filters and plugins may import, as `#api`. */
export {
  FLAG_FAST_ZERO,
  FLAG_FUA,
  FLAG_MAY_TRIM,
  FLAG_REQ_ONE,
} from "./generated/constants.gen.ts";
export type {
  Awaitable,
  NextDefaultExport,
  NextListExports,
  NextOpen,
  NextOps,
  Support,
  ThreadModel,
} from "./generated/methods.gen.ts";
export { after, isPromise } from "./awaitable.ts";
export { type BlockSize } from "../lib/block-size.ts";
export { type Export, type Exports } from "../lib/exports.ts";
export { type Extent, EXTENT_HOLE, EXTENT_ZERO, Extents } from "../lib/extents.ts";
export { type Client } from "../lib/client.ts";
export { peerAddress, type PeerAddress, shutdown, sleep } from "./client.ts";
export { environmentVariable } from "../lib/environment.ts";
export { type Errno } from "../lib/errno.ts";
export { parseBool, parseInteger, parseSize } from "../lib/size.ts";
export { quoted } from "../lib/quoted.ts";
export { filePath, textOf } from "../lib/text-bytes.ts";
export { debug, debugHexdiff, debugHexdump, error, serverName } from "./debug.ts";
export { defineFilter, definePlugin, type Window } from "./define.ts";
export { ConfigError, NbdError } from "../lib/errors.ts";
export { fullExtents } from "./extents.ts";
export { type Given, lastGiven, type Param, param, type Params, type Values } from "./params.ts";
export { absolutePath, realPath } from "../lib/paths.ts";
export * as storage from "./storage.ts";

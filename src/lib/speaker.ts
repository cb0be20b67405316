/** Which layer says something, and about which client: what log lines of modules in TypeScript are named after. */
import { AsyncLocalStorage } from "node:async_hooks";

interface Speaker {
  readonly layer?: string | undefined;
  /** `memory[3]`, of the client. */
  readonly logName?: string | undefined;
}

const speakers = new AsyncLocalStorage<Speaker>();

/** Call `go` on behalf of a client. All that it starts speaks of this client, also later. */
export function speakOf<A extends unknown[], R>(
  logName: string,
  go: (...args: A) => R,
  ...args: A
): R {
  return speakers.run({ logName }, go, ...args);
}

/** Call `go` on behalf of a layer, and of the client that there is already. */
export function speakAs<A extends unknown[], R>(
  layer: string,
  go: (...args: A) => R,
  ...args: A
): R {
  return speakers.run({ layer, logName: speakers.getStore()?.logName }, go, ...args);
}

/** The layers of modules, by the paths of their files. */
const modules = new Map<string, string>();

/** `path` is the one that shows in stacks. */
export function nameModule(path: string, layer: string): void {
  modules.set(path, layer);
}

/**
 * Who is speaking. Requests are too many to write down for each which layer works on it, so the layer is looked up in
 * the stack: a line for the log is rare. A function that ends with the call is not there, but what has called it is.
 */
export function currentSpeaker(): Speaker {
  const { layer, logName } = speakers.getStore() ?? {};
  return { layer: layerInStack() ?? layer, logName };
}

function layerInStack(): string | undefined {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 50;
  const { stack = "" } = new Error("who speaks");
  Error.stackTraceLimit = limit;
  for (const line of stack.split("\n")) {
    for (const [path, layer] of modules) if (line.includes(`${path}:`)) return layer;
    const nearby = [...modules].filter(([path]) => line.includes(folderOf(path)));
    const [found] = nearby;
    if (found !== undefined && nearby.length === 1) return found[1];
  }
  return undefined;
}

/** A module may have several files. */
function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/") + 1);
}

/** `message` as a line of the layer's, which begins with its name. The server itself has none. */
export function named(layer = "", message: string): string {
  if (layer === "" || message === "") return message;
  const starts = [layer, `filter ${layer}`, `plugin ${layer}`];
  const isNamed = starts.some((start) => new RegExp(`^${start}[: ]`).test(message));
  return isNamed ? message : `${layer}: ${message}`;
}

/** The layers that have thrown errors. */
const origins = new WeakMap<object, string>();

/** `error` comes from `layer`, or from the server itself (""), unless it came from another one before. */
export function noteOrigin(error: object, layer: string): void {
  if (!origins.has(error)) origins.set(error, layer);
}

/** The message of an error, as it is logged. */
export function namedMessage(error: object & { readonly message: string }): string {
  return named(origins.get(error), error.message);
}

/** Which layer prints a message, and for which client: log lines of TypeScript modules name both. */
import { AsyncLocalStorage } from "node:async_hooks";

interface Speaker {
  readonly layer?: string | undefined;
  /** `memory[3]`, of the client. */
  readonly logName?: string | undefined;
}

const speakers = new AsyncLocalStorage<Speaker>();

/** Call `go` on behalf of a client. Messages of everything that it starts name this client, even later. */
export function speakOf<A extends unknown[], R>(
  logName: string,
  go: (...args: A) => R,
  ...args: A
): R {
  return speakers.run({ logName }, go, ...args);
}

/** Call `go` on behalf of a layer and the current client. */
export function speakAs<A extends unknown[], R>(
  layer: string,
  go: (...args: A) => R,
  ...args: A
): R {
  return speakers.run({ layer, logName: speakers.getStore()?.logName }, go, ...args);
}

/** The layers of modules, by the paths of their files. */
const modules = new Map<string, string>();

/** `path` is as it appears in stack traces. */
export function nameModule(path: string, layer: string): void {
  modules.set(path, layer);
}

/**
 * The layer that prints the message. Recording the current layer for each request would cost too
 * much, so the layer is looked up in the stack trace: log lines are rare. A tail-called function
 * is not in the trace, but its caller is.
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

/** `message` with the layer's name in front. The server itself has no name. */
export function named(layer = "", message: string): string {
  if (layer === "" || message === "") return message;
  const isNamed = message.startsWith(`${layer}:`) || message.startsWith(`${layer} `);
  return isNamed ? message : `${layer}: ${message}`;
}

/** The layers that have thrown errors. */
const origins = new WeakMap<object, string>();

/** Record that `error` comes from `layer`, or from the server itself (""), unless a source is already recorded. */
export function noteOrigin(error: object, layer: string): void {
  if (!origins.has(error)) origins.set(error, layer);
}

/** Errors that are in the log already. */
const logged = new WeakSet<object>();

export function noteLogged(error: object): void {
  logged.add(error);
}

/** The message of an error for the log. Empty if the error is there already, by us or by a C module. */
export function namedMessage(error: object & { readonly message: string }): string {
  return logged.has(error) ? "" : named(origins.get(error), error.message);
}

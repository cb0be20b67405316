/** Outstanding calls: those that layers have not answered yet, by any caller. */
import { isPromise, promiseOf } from "../api/awaitable.ts";
import type { Awaitable } from "../api/generated/methods.gen.ts";
import { busyCalls, turnTime } from "./calls.ts";

/** A call of a layer. */
export interface Waiting {
  /** The same for the same call, whenever it is asked for. */
  readonly call: object;
  /** The name of the layer. */
  readonly title: string;
  readonly method: string;
  /** The range; both are 0 where the method has none. */
  readonly count: number;
  readonly offset: bigint;
  /** Of the client, as log lines have it; empty outside connections. */
  readonly logName: string;
  /** When it began, by `turnTime`. */
  readonly since: number;
}

/** Calls outside requests. */
const outside = new Set<Waiting>();

/** Remember a call outside requests, such as open or get_ready, until it is answered. */
export function waitFor<T>(
  { name: title }: { readonly name: string },
  method: string,
  logName: string,
  result: Awaitable<T>,
): Awaitable<T> {
  if (!isPromise(result)) return result;
  const since = turnTime();
  const it: Waiting = { call: {}, title, method, count: 0, offset: 0n, logName, since };
  outside.add(it);
  const end = (): void => void outside.delete(it);
  promiseOf(result).then(end, end);
  return result;
}

/** The calls that others wait for, the oldest first: not those that only wait for the layer below. */
export function waitedFor(): readonly Waiting[] {
  const found: Waiting[] = [];
  for (const calls of busyCalls) {
    const { owner } = calls;
    if (owner === undefined) continue;
    for (const call of calls.all) {
      if (call.next?.isBusy === true) continue;
      const { count, offset, since } = call;
      const { layer, logName, title } = owner;
      const method = layer.inTypeScript === true ? call.method : cName(call.method);
      found.push({ call, title, method, count, offset, logName, since });
    }
  }
  // One step after the other is taken for each client: of those that are nested the innermost began last.
  const steps = new Map([...outside].map((it) => [it.logName, it]));
  for (const it of steps.values()) {
    if (!found.some(({ logName, since }) => logName === it.logName && since >= it.since)) {
      found.push(it);
    }
  }
  // A layer in C does not tell what it waits for. The same request in another layer began later.
  const isOuter = (it: Waiting): boolean =>
    found.some(
      ({ count, logName, method, since, title }) =>
        logName === it.logName &&
        title !== it.title &&
        since > it.since &&
        method === it.method &&
        count === it.count,
    );
  return found.filter((it) => !isOuter(it)).toSorted((a, b) => a.since - b.since);
}

/** `NAME: pread of 4096 bytes at 0`. */
export function nameOf({ count, method, offset, title }: Waiting): string {
  const range = count === 0 ? "" : ` of ${count} bytes at ${offset}`;
  return `${title}: ${method}${range}`;
}

/** What authors of C modules call the method. */
function cName(method: string): string {
  return method.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

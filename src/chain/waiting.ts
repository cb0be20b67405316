/** Outstanding calls: those that layers have not answered yet, by any caller. */
import { busyCalls } from "./calls.ts";
import { outside, type Waiting } from "./outside.ts";

/** The calls that the others wait for, the oldest first. Calls that only wait for the layer below are left out. */
export function waitedFor(): readonly Waiting[] {
  const found: Waiting[] = [];
  for (const calls of busyCalls) {
    const { connection, state } = calls.caller;
    const { layer } = state.link;
    const { logName } = connection;
    for (const call of calls.all) {
      if (call.next?.calls.isBusy === true) continue;
      const { count, offset, since } = call;
      const method = layer.inTypeScript === true ? call.method : cName(call.method);
      found.push({ call, title: layer.name, method, count, offset, logName, since });
    }
  }
  // Each client's steps run one after the other. Of nested steps, the innermost began last.
  const steps = new Map([...outside].map((it) => [it.logName, it]));
  for (const it of steps.values()) {
    if (!found.some(({ logName, since }) => logName === it.logName && since >= it.since)) {
      found.push(it);
    }
  }
  // A C layer does not show what it waits for: probably a later call of the same method and length in another layer.
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

/** The method's name in C. */
function cName(method: string): string {
  return method.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

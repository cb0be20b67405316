/** Ends a process and all processes that it has started. */
import { readFileSync } from "node:fs";

import { log } from "../lib/log.ts";
import { forkMs, stopMs } from "./limits.ts";

interface Member {
  readonly pid: number;
  /** The start time in the kernel's ticks, which differs if another process gets the same pid. */
  readonly started: string | undefined;
}

/**
 * Ask the process and its descendants to end. Call the returned function when the process has
 * ended: it asks those again that lost the request. A shell that has forked catches SIGTERM until
 * the child executes its program, which then forgets the signal.
 */
export function endTree(pid: number): () => Promise<void> {
  const members = held(pid);
  const shell = contentOf(`/proc/${pid}/cmdline`);
  for (const member of members) signal(member.pid, "SIGTERM");
  for (const member of members) signal(member.pid, "SIGCONT");
  return async () => {
    const until = performance.now() + forkMs;
    for (;;) {
      const left = members.filter(isThere);
      for (const { pid: number } of left) if (takesDefault(number)) signal(number, "SIGTERM");
      const forked = left.filter((member) => contentOf(`/proc/${member.pid}/cmdline`) === shell);
      if (forked.length === 0 || performance.now() > until) return;
      await Bun.sleep(1);
    }
  };
}

/** Kill the process and its descendants. */
export function killTree(pid: number): void {
  for (const member of held(pid)) signal(member.pid, "SIGKILL");
}

function isThere({ pid, started }: Member): boolean {
  const state = stateOf(pid);
  return state !== undefined && state.started === started && state.state !== "Z";
}

/** Descendants first. They are stopped, so that none starts another process unseen. */
function held(pid: number): readonly Member[] {
  signal(pid, "SIGSTOP");
  waitUntilStopped(pid);
  const started = stateOf(pid)?.started;
  return [...childrenOf(pid).flatMap(held), { pid, started }];
}

/** A signal takes a moment to arrive. */
function waitUntilStopped(pid: number): void {
  const until = performance.now() + stopMs;
  for (;;) {
    const state = stateOf(pid)?.state;
    if (state === undefined || "TtZX".includes(state) || performance.now() > until) return;
    Bun.sleepSync(1);
  }
}

/** Whether SIGTERM would end the process, so it cannot have received one. */
function takesDefault(pid: number): boolean {
  const text = contentOf(`/proc/${pid}/status`);
  const masks = [...text.matchAll(/^Sig(?:Blk|Ign|Cgt):\s*([0-9a-f]+)$/gm)];
  return masks.length === 3 && masks.every(([, mask]) => (BigInt(`0x${mask}`) & termBit) === 0n);
}

/** SIGTERM is 15, and the first bit is signal 1. */
const termBit = 1n << 14n;

function stateOf(pid: number): { readonly state: string; readonly started: string } | undefined {
  const text = contentOf(`/proc/${pid}/stat`);
  // The name before it may contain anything, including parentheses.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state, started] = [fields[0], fields[19]];
  return state === undefined || started === undefined ? undefined : { state, started };
}

function childrenOf(pid: number): readonly number[] {
  return contentOf(`/proc/${pid}/task/${pid}/children`).split(" ").filter(Boolean).map(Number);
}

/** "" if the process has ended, or this kernel does not report it. */
function contentOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // It has just ended, or belongs to the user that this process was before.
    log.debug(`${name} to process ${pid} of the command: ${String(error)}`);
  }
}

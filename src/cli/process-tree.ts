/** Ends a process with all that it has started. */
import { readFileSync } from "node:fs";

import { log } from "../lib/log.ts";
import { forkMs, stopMs } from "./limits.ts";

interface Member {
  readonly pid: number;
  /** When it was started, in the kernel's ticks: another process that gets its number has another one. */
  readonly started: string | undefined;
}

/**
 * Ask the process, and what it has started, to end. What is returned is for when the process has
 * ended: what the request was lost on is asked again. A shell catches SIGTERM until what it has
 * forked is the program that it shall be, which forgets it.
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

/** End the process, and what it has started, whatever they do about it. */
export function killTree(pid: number): void {
  for (const member of held(pid)) signal(member.pid, "SIGKILL");
}

function isThere({ pid, started }: Member): boolean {
  const state = stateOf(pid);
  return state !== undefined && state.started === started && state.state !== "Z";
}

/** The processes below first. They are stopped, so that none starts another one that is not seen. */
function held(pid: number): readonly Member[] {
  signal(pid, "SIGSTOP");
  waitUntilStopped(pid);
  const started = stateOf(pid)?.started;
  return [...childrenOf(pid).flatMap(held), { pid, started }];
}

/** A signal is on its way for a moment. */
function waitUntilStopped(pid: number): void {
  const until = performance.now() + stopMs;
  for (;;) {
    const state = stateOf(pid)?.state;
    if (state === undefined || "TtZX".includes(state) || performance.now() > until) return;
    Bun.sleepSync(1);
  }
}

/** Whether SIGTERM would end the process, so that it cannot have got one. */
function takesDefault(pid: number): boolean {
  const text = contentOf(`/proc/${pid}/status`);
  const masks = [...text.matchAll(/^Sig(?:Blk|Ign|Cgt):\s*([0-9a-f]+)$/gm)];
  return masks.length === 3 && masks.every(([, mask]) => (BigInt(`0x${mask}`) & termBit) === 0n);
}

/** SIGTERM is 15, and the first bit stands for 1. */
const termBit = 1n << 14n;

function stateOf(pid: number): { readonly state: string; readonly started: string } | undefined {
  const text = contentOf(`/proc/${pid}/stat`);
  // The name in front may have anything in it, parentheses too.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state, started] = [fields[0], fields[19]];
  return state === undefined || started === undefined ? undefined : { state, started };
}

function childrenOf(pid: number): readonly number[] {
  return contentOf(`/proc/${pid}/task/${pid}/children`).split(" ").filter(Boolean).map(Number);
}

/** "" where the process has ended, or this kernel does not tell. */
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
    // It ended in this moment, or belongs to the user that this process was before.
    log.debug(`${name} to process ${pid} of the command: ${String(error)}`);
  }
}

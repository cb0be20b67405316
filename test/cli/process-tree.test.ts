/** endTree() ends a process and all of its descendants. */
import { expect, test } from "bun:test";

import { endTree } from "../../src/cli/process-tree.ts";

/** A shell that has printed `lines` lines, and a function that reads the rest until no writer of the pipe is left. */
async function started(script: string, lines: number) {
  const child = Bun.spawn(["/bin/sh", "-c", script], { stdio: ["ignore", "pipe", "ignore"] });
  const reader = child.stdout.getReader();
  let text = "";
  const decoder = new TextDecoder();
  const more = async (): Promise<boolean> => {
    const { done, value } = await reader.read();
    text += decoder.decode(value);
    return !done;
  };
  while (text.split("\n").length <= lines) await more();
  const rest = async (): Promise<string> => {
    const from = text.length;
    while (await more());
    return text.slice(from);
  };
  return { child, rest };
}

test("endTree ends descendants at every depth", async () => {
  const deep = "(sh -c 'sleep 1000 & echo a; wait' & echo b; wait) & sleep 1000 & echo c; wait";
  const { child, rest } = await started(deep, 3);
  const askAgain = endTree(child.pid);
  expect(await child.exited).toBe(143);
  await askAgain();
  expect(await rest()).toBe("");
});

test("endTree ends a process that keeps starting others, and leaves none", async () => {
  const busy = "trap 'exit 7' TERM; echo ready; while :; do sleep 1000 & wait $!; done";
  for (let i = 0; i < 30; i++) {
    const { child, rest } = await started(busy, 1);
    const askAgain = endTree(child.pid);
    expect(await child.exited).toBe(7);
    await askAgain();
    expect(await rest()).toBe("");
  }
});

test("endTree sends one signal to a process that ends slowly", async () => {
  const slow =
    "trap 'echo asked; sleep 0.2; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
  const { child, rest } = await started(slow, 1);
  await endTree(child.pid)();
  expect(await child.exited).toBe(3);
  expect(await rest()).toBe("asked\n");
});

test("endTree accepts a process that has already ended", async () => {
  const child = Bun.spawn(["true"]);
  await child.exited;
  await endTree(child.pid)();
});

/** The command of --run, and all that it has started, end with the server. */
import { expect, test } from "bun:test";

import { endTree } from "../../src/cli/process-tree.ts";

/** A shell that has printed `words` words, and what it prints after them until no process is left to print. */
async function started(script: string, words: number) {
  const child = Bun.spawn(["/bin/sh", "-c", script], { stdio: ["ignore", "pipe", "ignore"] });
  const reader = child.stdout.getReader();
  let text = "";
  const decoder = new TextDecoder();
  const more = async (): Promise<boolean> => {
    const { done, value } = await reader.read();
    text += decoder.decode(value);
    return !done;
  };
  while (text.split("\n").length <= words) await more();
  const rest = async (): Promise<string> => {
    const from = text.length;
    while (await more());
    return text.slice(from);
  };
  return { child, rest };
}

test("all that was started ends, however deep", async () => {
  const deep = "(sh -c 'sleep 1000 & echo a; wait' & echo b; wait) & sleep 1000 & echo c; wait";
  const { child, rest } = await started(deep, 3);
  const askAgain = endTree(child.pid);
  expect(await child.exited).toBe(143);
  await askAgain();
  expect(await rest()).toBe("");
});

test("a process that starts others again and again leaves none", async () => {
  const busy = "trap 'exit 7' TERM; echo ready; while :; do sleep 1000 & wait $!; done";
  for (let i = 0; i < 30; i++) {
    const { child, rest } = await started(busy, 1);
    const askAgain = endTree(child.pid);
    expect(await child.exited).toBe(7);
    await askAgain();
    expect(await rest()).toBe("");
  }
});

test("a process that ends slowly gets one signal", async () => {
  const slow =
    "trap 'echo asked; sleep 0.2; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
  const { child, rest } = await started(slow, 1);
  await endTree(child.pid)();
  expect(await child.exited).toBe(3);
  expect(await rest()).toBe("asked\n");
});

test("a process that has ended already is no error", async () => {
  const child = Bun.spawn(["true"]);
  await child.exited;
  await endTree(child.pid)();
});

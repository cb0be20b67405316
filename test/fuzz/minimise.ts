/** Makes a failing script as short as possible. */
import { type Script, send, type Step } from "./script.ts";

type Fails = (script: Script) => Promise<boolean>;

export async function minimised(script: Script, fails: Fails): Promise<Script> {
  let { steps } = script;
  const shorter = async (tried: readonly Step[]): Promise<boolean> => {
    if (!(await fails({ ...script, steps: tried }))) return false;
    steps = tried;
    return true;
  };
  for (let before = -1; before !== weight(steps);) {
    before = weight(steps);
    await withoutSteps(() => steps, shorter);
    await withoutBytes(() => steps, shorter);
  }
  return { ...script, steps };
}

type Shorter = (tried: readonly Step[]) => Promise<boolean>;

function weight(steps: readonly Step[]): number {
  return steps.reduce((sum, step) => sum + (step.kind === "send" ? 1 + step.data.length : 1), 0);
}

async function withoutSteps(now: () => readonly Step[], shorter: Shorter): Promise<void> {
  for (let size = Math.ceil(now().length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < now().length;) {
      const tried = [...now().slice(0, at), ...now().slice(at + size)];
      if (!(await shorter(tried))) at += size;
    }
  }
}

async function withoutBytes(now: () => readonly Step[], shorter: Shorter): Promise<void> {
  for (let i = 0; i < now().length; i++) {
    const length = () => {
      const step = now()[i];
      return step?.kind === "send" ? step.data.length : 0;
    };
    for (let size = Math.ceil(length() / 2); size >= 1; size = Math.floor(size / 2)) {
      for (let at = 0; at < length();) {
        const tried = cut(now(), i, at, size);
        if (!(await shorter(tried))) at += size;
      }
    }
  }
}

function cut(steps: readonly Step[], i: number, at: number, size: number): readonly Step[] {
  return steps.map((step, j) =>
    i === j && step.kind === "send"
      ? send(step.data.subarray(0, at), step.data.subarray(at + size))
      : step,
  );
}

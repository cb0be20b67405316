/** Mutates scripts: their bytes, their messages, their order. */

import { configurationNames } from "./configurations.ts";
import { event, message } from "./grammar.ts";
import type { Random } from "./random.ts";
import { joined, type Script, send, type Step } from "./script.ts";

const longest = 400;

type Change = (random: Random, steps: Step[], other: Script) => void;

const changes: readonly Change[] = [
  // Bits and bytes.
  (random, steps) => edit(random, steps, (data) => flip(random, data)),
  (random, steps) => edit(random, steps, (data) => overwrite(random, data)),
  (random, steps) => edit(random, steps, (data) => cut(random, data)),
  (random, steps) =>
    edit(random, steps, (data) => insert(random, data, random.bytes(1 + random.below(8)))),
  (random, steps) => edit(random, steps, (data) => insert(random, data, message(random))),
  // Steps.
  (random, steps) => steps.splice(random.below(steps.length + 1), 0, event(random)),
  (random, steps) => steps.splice(random.below(steps.length + 1), 0, send(message(random))),
  (random, steps) => steps.splice(random.below(steps.length), 1 + random.below(3)),
  (random, steps) => {
    const from = random.below(steps.length);
    const some = steps.slice(from, from + 1 + random.below(4));
    steps.splice(random.below(steps.length + 1), 0, ...some);
  },
  (random, steps, other) => {
    const from = random.below(other.steps.length + 1);
    steps.splice(random.below(steps.length + 1), longest, ...other.steps.slice(from));
  },
  // Split one chunk, or join two.
  (random, steps) => {
    const at = random.below(steps.length);
    const step = steps[at];
    if (step?.kind !== "send") return;
    const middle = random.below(step.data.length + 1);
    steps.splice(at, 1, send(step.data.subarray(0, middle)), send(step.data.subarray(middle)));
  },
  (random, steps) => {
    const at = random.below(steps.length);
    const [a, b] = steps.slice(at, at + 2);
    if (a?.kind === "send" && b?.kind === "send") steps.splice(at, 2, send(a.data, b.data));
  },
];

/** `script` with one to four changes. One of them may copy steps of `other`. */
export function mutated(random: Random, script: Script, other: Script): Script {
  const steps = [...script.steps];
  for (let i = 1 + random.below(4); i > 0; i--) {
    if (steps.length === 0) steps.push(send(message(random)));
    random.pick(changes)(random, steps, other);
  }
  const configuration = random.once(10) ? random.pick(configurationNames) : script.configuration;
  return { configuration, steps: steps.slice(0, longest) };
}

function edit(random: Random, steps: Step[], change: (data: Uint8Array) => Uint8Array): void {
  const at = random.below(steps.length);
  const step = steps[at];
  if (step?.kind === "send" && step.data.length > 0) steps[at] = send(change(step.data));
}

function flip(random: Random, data: Uint8Array): Uint8Array {
  const result = data.slice();
  for (let i = 1 + random.below(3); i > 0; i--) {
    const at = random.below(result.length);
    result[at] = (result[at] ?? 0) ^ (1 << random.below(8));
  }
  return result;
}

const interesting = [0, 1, 2, 3, 28, 511, 4096, 4097, 0x8000, 0xffff, 0x7fffffff, 0xffffffff];

/** Overwrite some bytes by a number. */
function overwrite(random: Random, data: Uint8Array): Uint8Array {
  const result = data.slice();
  const size = random.pick([1, 2, 4]);
  if (result.length < size) return result;
  const view = new DataView(result.buffer);
  const at = random.below(result.length - size + 1);
  const value = random.pick(interesting);
  if (size === 1) view.setUint8(at, value);
  else if (size === 2) view.setUint16(at, value);
  else view.setUint32(at, value);
  return result;
}

function cut(random: Random, data: Uint8Array): Uint8Array {
  const from = random.below(data.length);
  const to = from + 1 + random.below(32);
  return joined([data.subarray(0, from), data.subarray(to)]);
}

function insert(random: Random, data: Uint8Array, what: Uint8Array): Uint8Array {
  const at = random.below(data.length + 1);
  return joined([data.subarray(0, at), what, data.subarray(at)]);
}

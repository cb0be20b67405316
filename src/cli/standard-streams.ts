/** Takes stdin and stdout away from modules before clients are served. */
import { closeSync } from "node:fs";

import { descriptorState, discard, duplicate, flushStreams, setInherited } from "#abi/process";

import { ConfigError } from "../api/errors.ts";

/** What stdin and stdout were, for whoever still needs them. */
export interface StandardStreams extends Disposable {
  readonly input: number;
  readonly output: number;
  /** They are somebody else's to close now. */
  give(): void;
}

/** From now on stdin and stdout mean /dev/null, for modules and what they start. */
export function takeStandardStreams(): StandardStreams {
  // What C modules printed went to the old ones.
  flushStreams();
  const input = duplicate(0);
  const output = duplicate(1);
  discard(0);
  discard(1);
  // Bun opens what was closed, but not for others.
  setInherited(2, true);
  let ours = true;
  return {
    input,
    output,
    give() {
      ours = false;
    },
    [Symbol.dispose]() {
      if (!ours) return;
      closeSync(input);
      closeSync(output);
      ours = false;
    },
  };
}

/** -s needs both. Bun opens /dev/null for what is closed, and does not let it be inherited. */
export function checkStandardStreams(): void {
  for (const [fd, name] of ["stdin", "stdout"].entries()) {
    if (descriptorState(fd) === "inherited") continue;
    throw new ConfigError(`option -s/--single: ${name} is closed: expected a socket or a pipe`);
  }
}

/** Takes stdin and stdout away from modules before clients are served. */
import { closeSync, fstatSync } from "node:fs";

import { ConfigError } from "../lib/errors.ts";
import { ownDescriptor } from "../sys/own-descriptors.ts";
import {
  descriptorState,
  discard,
  duplicate,
  flushStreams,
  redirect,
  setInherited,
} from "../sys/process.ts";

/** What stdin and stdout were, for whoever still needs them. */
export interface StandardStreams extends Disposable {
  readonly input: number;
  readonly output: number;
  /** They are somebody else's to close now. */
  give(): void;
}

/**
 * From now on stdin means /dev/null for modules and what they start, and stdout means stderr. With -s this is so before
 * modules are loaded: what they print then would be sent to the client.
 */
export function takeStandardStreams(): StandardStreams {
  // What C modules printed went to the old ones.
  flushStreams();
  const input = duplicate(0);
  const output = duplicate(1);
  ownDescriptor(input);
  ownDescriptor(output);
  discard(0);
  redirect(1, 2);
  // Bun opens what was closed, but not for others.
  setInherited(1, true);
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

/** nbdkit_stdio_safe(3): C modules have /dev/null for stdout while clients are served. */
export function discardOutput(): void {
  flushStreams();
  discard(1);
}

/** A daemon has left stderr: stdout follows. */
export function followStderr(): void {
  redirect(1, 2);
}

/** -s needs both. Bun opens /dev/null for what is closed, and does not let it be inherited. */
export function checkStandardStreams(): void {
  for (const [fd, name] of ["stdin", "stdout"].entries()) {
    if (descriptorState(fd) === "inherited") continue;
    throw new ConfigError(`option -s/--single: ${name} is closed: expected a socket or a pipe`);
  }
}

/** Whether stderr leads to the client of -s too, as it does where inetd gives a server its socket three times. */
export function clientHasStderr(): boolean {
  const [output, errors] = [fstatSync(1), fstatSync(2)];
  return output.isSocket() && output.dev === errors.dev && output.ino === errors.ino;
}

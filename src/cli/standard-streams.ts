/** Takes stdin and stdout away from modules before clients are served. */
import { closeSync, fstatSync } from "node:fs";

import { ConfigError } from "../lib/errors.ts";
import {
  descriptorState,
  discard,
  duplicate,
  flushStreams,
  redirect,
  setInherited,
} from "../sys/process.ts";
import { protectDescriptor } from "../sys/protected-descriptors.ts";

/** The original stdin and stdout, for code that still needs them. */
export interface StandardStreams extends Disposable {
  readonly input: number;
  readonly output: number;
  /** Another owner closes them from now on. */
  give(): void;
}

/**
 * From now on stdin is /dev/null, and stdout is stderr, for modules and their programs. With -s
 * this happens before modules are loaded, since their output would go to the client.
 */
export function takeStandardStreams(): StandardStreams {
  // Earlier output of C modules belongs to the old streams.
  flushStreams();
  const input = duplicate(0);
  const output = duplicate(1);
  protectDescriptor(input);
  protectDescriptor(output);
  discard(0);
  redirect(1, 2);
  // Bun opens closed streams, but child processes do not inherit them.
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

/** A daemon has replaced stderr: stdout follows. */
export function followStderr(): void {
  redirect(1, 2);
}

/** -s needs both. Bun opens /dev/null for a closed stream, and marks it close-on-exec. */
export function checkStandardStreams(): void {
  for (const [fd, name] of ["stdin", "stdout"].entries()) {
    if (descriptorState(fd) === "inherited") continue;
    throw new ConfigError(`option -s/--single: ${name} is closed: expected a socket or a pipe`);
  }
}

/** Whether stderr also leads to the client of -s, as when inetd passes the socket as all three streams. */
export function clientHasStderr(): boolean {
  const [output, errors] = [fstatSync(1), fstatSync(2)];
  return output.isSocket() && output.dev === errors.dev && output.ino === errors.ino;
}

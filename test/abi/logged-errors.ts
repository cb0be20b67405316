/** Records the errors that the server logs, for tests that make filters misbehave. */
import { afterAll, afterEach, beforeEach, spyOn } from "bun:test";

import { log } from "#lib/log";

/** Called in a describe: its tests do not print errors. Returns those since the last call, as "CLIENT: MESSAGE". */
export function recordErrors(): () => string[] {
  const errors: string[] = [];
  const error = spyOn(log, "error");
  beforeEach(() => {
    errors.length = 0;
    error.mockImplementation((message, name) => void errors.push(`${name}: ${message}`));
  });
  afterEach(() => error.mockReset());
  afterAll(() => error.mockRestore());
  return () => errors.splice(0);
}

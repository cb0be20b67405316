/** Runs a client that must succeed, as tests of real clients do. */
import { expect } from "bun:test";

import { run } from "#test/server";

/**
 * The stdout of the client, which must print nothing on stderr. nbdsh must find Debian's python3 first, which has
 * libnbd's module.
 */
export async function outputOf(command: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(command, {
    env: { PATH: `/usr/bin:${process.env["PATH"]}` },
  });
  expect({ command, code, stderr }).toEqual({ command, code: 0, stderr: "" });
  return stdout;
}

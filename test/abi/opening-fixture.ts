/** Runs a filter that opens contexts above layers whose calls fail as planned, and returns what all of them print. */
import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import type { ReleaseId } from "#abi/generated/releases.gen";
import { NbdClient, request } from "#test/client";
import { compileModule } from "#test/modules";
import { serve, until } from "#test/server";

import { releaseMacro } from "../../codegen/names.ts";

export interface Case {
  readonly title: string;
  readonly parameters: readonly string[];
  /** The lines of the layers, then the client's result: recorded from nbdkit 1.48.1. */
  readonly seen: readonly string[];
  /** Whether nbdkit 1.32 does the same. In the others it fails an assertion, since it has one handle per plugin. */
  readonly in132: boolean;
}

export const cases: readonly Case[] = readFileSync(
  join(import.meta.dir, "opening-cases.txt"),
  "utf8",
)
  .trim()
  .split("\n\n")
  .map((text) => {
    const [title = "", parameters = "", ...seen] = text.split("\n");
    return {
      title: title.slice(2).replace(" [1.32]", ""),
      parameters: parameters.slice(2).split(" "),
      seen,
      in132: title.endsWith(" [1.32]"),
    };
  });

export const stumblingPlugin = (): Promise<string> =>
  compileModule("test/fixtures/stumbling.c", { defines: { PLUGIN: true, _GNU_SOURCE: true } });

/** The two filters, for `version`, and the plugin. */
export async function modules(id: ReleaseId, version?: string): Promise<readonly string[]> {
  const defines = {
    _GNU_SOURCE: true,
    NBDKIT_FILTER_RELEASE: releaseMacro(id),
    ...(version === undefined ? {} : { NBDKIT_FILTER_VERSION: `"${version}"` }),
  } as const;
  const [stepping, stumbling, plugin] = await Promise.all([
    compileModule("test/fixtures/stepping.c", { defines }),
    compileModule("test/fixtures/stumbling.c", { defines }),
    stumblingPlugin(),
  ]);
  return [`--filter=${stepping}`, `--filter=${stumbling}`, plugin];
}

/** The lines that the layers printed. */
function linesOf(stderr: string): string[] {
  return stderr.split("\n").flatMap((line) => {
    const [, text] = /^(?:STEP |nbdkit: .*(?=error: ))(.*)$/.exec(line) ?? [];
    return text === undefined ? [] : [text];
  });
}

/** Serves one client, which reads three times. The second read makes the filter run its steps. */
export async function session(
  command: readonly string[],
  args: readonly string[],
  least = 0,
): Promise<{ readonly seen: readonly string[]; readonly code: number }> {
  await using server = await serve(args, { program: command });
  await using client = await NbdClient.connect({ unix: server.socket });
  await client.hello();
  const answer = await client.go();
  const isOpen = "size" in answer;
  if (isOpen) {
    for (const count of [512, 1, 512]) {
      expect((await client.ask({ type: 0, offset: 0n, count })).error).toBe(0);
    }
    client.send(request({ type: 2 }));
    await client.closed;
  }
  client.terminate();
  // nbdkit closes the layers after the connection.
  await until(() => linesOf(server.stderr()).length >= least);
  const { code, stderr } = await server.stop();
  return { seen: [...linesOf(stderr), `client ${isOpen ? "connected" : "refused"}`], code };
}

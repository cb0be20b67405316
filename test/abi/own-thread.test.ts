/** If requests do not run in parallel, each connection has its own thread. Perl keeps its interpreter per thread. */
import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { installed, program, serve, until } from "#test/server";

const plugin = () => compileModule("test/fixtures/thread-bound.c");
const passing = () =>
  compileModule("test/fixtures/any-release.c", {
    defines: {
      NBDKIT_FILTER_RELEASE: "NBDKIT_FILTER_RELEASE_1_30",
      NBDKIT_FILTER_VERSION: '"1.32.5"',
    },
  });

/** Serves six clients that take turns, each with ten requests at once. Returns stderr. */
async function turns(command: readonly string[], args: readonly string[]): Promise<string> {
  await using server = await serve(args, { program: command });
  const clients: NbdClient[] = [];
  for (let round = 0; round < 6; round++) {
    clients.push((await NbdClient.ready({ unix: server.socket })).client);
    for (const client of clients) {
      for (let i = 0; i < 8; i++) client.request({ type: 0, offset: 0n, count: 512 });
      client.request({ type: 1, offset: 0n, payload: new Uint8Array(512) });
      client.request({ type: 3 });
    }
    for (const client of clients) {
      for (let i = 0; i < 10; i++) {
        expect((await client.reply()).error).toBe(0);
        if (i < 8) await client.take(512);
      }
    }
  }
  for (const client of clients) client.request({ type: 2 });
  for (const client of clients) await client.closed;
  const { code, stderr } = await server.stop();
  expect(code).toBe(0);
  return stderr;
}

describe.skipIf(!haveCompiler)("the thread of a connection (needs cc)", () => {
  test("runs all callbacks of a plugin", async () => {
    expect(await turns(program, [await plugin()])).toBe("");
  });

  test("runs them below C and TypeScript filters", async () => {
    const filters = [
      `--filter=${await passing()}`,
      "--filter=offset",
      `--filter=${await passing()}`,
    ];
    expect(await turns(program, [...filters, await plugin()])).toBe("");
  });

  test.skipIf(!installed("nbdkit"))("runs them in nbdkit (needs nbdkit)", async () => {
    expect(await turns(["nbdkit"], [`--filter=${await passing()}`, await plugin()])).toBe("");
  });

  test("ends when clients leave, except for a few, which serve later clients", async () => {
    await using server = await serve([await plugin()]);
    const threads = () => readdirSync(`/proc/${server.process.pid}/task`).length;
    const clients: NbdClient[] = [];
    for (let i = 0; i < 40; i++)
      clients.push((await NbdClient.ready({ unix: server.socket })).client);
    const most = threads();
    for (const client of clients) client.terminate();
    await until(() => threads() <= most - 24);

    await using next = (await NbdClient.ready({ unix: server.socket })).client;
    expect((await next.ask({ type: 0, offset: 0n, count: 512 })).error).toBe(0);
  });
});

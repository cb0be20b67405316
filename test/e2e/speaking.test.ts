/** Log lines of a TypeScript module name its layer and the client. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { installed, serve } from "#test/server";

const speaking = join(import.meta.dir, "speaking-fixture.ts");

/** The log of three reads by one client. The last two fail. */
async function session(
  args: readonly string[],
  parameters: readonly string[] = [],
): Promise<string> {
  await using server = await serve([...args, speaking, ...parameters]);
  const { client } = await NbdClient.ready({ unix: server.socket });
  for (const [offset, error] of [
    [0n, 0],
    [1n, 5],
    [2n, 22],
  ] as const) {
    expect((await client.ask({ type: 0, offset, count: 1 })).error).toBe(error);
  }
  await client[Symbol.asyncDispose]();
  const { code, stderr } = await server.stop();
  expect(code).toBe(0);
  return stderr;
}

const expected = [
  "nbdkit: error: speaking: in getReady",
  "nbdkit: speaking[1]: error: speaking: in open",
  "nbdkit: speaking[1]: error: speaking: at once at 0",
  "nbdkit: speaking[1]: error: speaking: later at 0",
  "nbdkit: speaking[1]: error: speaking: at once at 1",
  "nbdkit: speaking[1]: error: speaking: later at 1",
  "nbdkit: speaking[1]: error: speaking: it fails as it means to",
  "nbdkit: speaking[1]: error: speaking: at once at 2",
  "nbdkit: speaking[1]: error: speaking: later at 2",
  "nbdkit: speaking[1]: error: speaking: pread: /nonexistent: No such file or directory",
  "nbdkit: speaking[1]: error: speaking: in close",
];

describe("log lines name the layer and the client of a plugin", () => {
  test.each([
    ["alone", [], []],
    ["below a filter in TypeScript", ["--filter=cow"], []],
    ["below a filter that sleeps", ["--filter=delay"], ["rdelay=1ms"]],
  ])("%s", async (_, args, parameters) => {
    expect((await session(args, parameters)).trim().split("\n")).toEqual(expected);
  });

  test.skipIf(!installed("nbdkit"))("below a C filter", async () => {
    expect((await session(["--filter=nofilter"])).trim().split("\n")).toEqual(expected);
  });
});

test("-v adds a plugin's debug lines, and the stack of an error of node:fs", async () => {
  const lines = (await session(["-v"])).split("\n");
  expect(lines).toContain("nbdkit: debug: speaking: in load");
  expect(lines).toContain("nbdkit: speaking[1]: debug: speaking: debug at 1");
  const start = lines.indexOf(
    "nbdkit: speaking[1]: debug: speaking: pread: Error: ENOENT: no such file or directory, open '/nonexistent'",
  );
  expect(start).toBeGreaterThan(0);
  const stack = lines.slice(start + 1, start + 4).join("\n");
  expect(stack).toMatch(
    /nbdkit: speaking\[1\]: debug: speaking: pread: at (async )?pread \(\S+\/speaking-fixture\.ts:\d+:\d+\)/,
  );
});

test.each([[[]], [["--filter=cow"]], [["--filter=delay"]]])(
  "an exception that a method throws by mistake is logged once, below %j",
  async (filters) => {
    await using server = await serve([...filters, speaking]);
    const { client } = await NbdClient.ready({ unix: server.socket });
    const { error } = await client.ask({ type: 0, offset: 3n, count: 1 });
    await client[Symbol.asyncDispose]();
    const { stderr } = await server.stop();
    expect({ error, times: stderr.split("a bug").length - 1 }).toEqual({ error: 5, times: 1 });
    expect(stderr).toContain(
      "nbdkit: speaking[1]: error: speaking: pread threw an unexpected exception: TypeError: a bug\n",
    );
  },
);

test("log lines name each of two clients", async () => {
  await using server = await serve([speaking]);
  const at = { unix: server.socket };
  const clients = [(await NbdClient.ready(at)).client, (await NbdClient.ready(at)).client];
  await Promise.all(
    clients.map((client, index) => client.ask({ type: 0, offset: BigInt(10 + index), count: 1 })),
  );
  // Log lines may arrive after the replies.
  for (const offset of [10, 11]) await server.printed(new RegExp(`later at ${offset}\n`));
  const lines = server.stderr().match(/speaking\[\d\]: error: speaking: (?:at once|later) at \d+/g);
  expect(lines?.toSorted()).toEqual([
    "speaking[1]: error: speaking: at once at 10",
    "speaking[1]: error: speaking: later at 10",
    "speaking[2]: error: speaking: at once at 11",
    "speaking[2]: error: speaking: later at 11",
  ]);
  for (const client of clients) await client[Symbol.asyncDispose]();
});

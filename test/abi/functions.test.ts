/** The answers of the functions that modules may call, in this server and in nbdkit. */
import { describe, expect, test } from "bun:test";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { installed, program, run, serve, type Served } from "#test/server";

import { answers, ownAnswers } from "./answers.ts";

const asking = (): Promise<string> => compileModule("test/fixtures/asking.c");

/** The answers that the plugin printed, as `[ask, answer]`. */
function answersIn(stderr: string): (readonly [string, string])[] {
  return [...stderr.matchAll(/^asked (.*?) ->(.*)$/gm)].map((it) => [
    it[1] ?? "",
    (it[2] ?? "").trim(),
  ]);
}

async function ask(
  server: readonly string[],
  asks: readonly (readonly [string, string])[],
): Promise<unknown> {
  const words = asks.map(([word]) => word);
  const { code, stderr } = await run([
    ...server,
    "-U",
    "-",
    "--run",
    "true",
    await asking(),
    ...words,
  ]);
  expect({ code, stderr }).toMatchObject({ code: 0 });
  return answersIn(stderr);
}

/** Connects and sends a read, whose length makes the plugin do something. */
async function reading(server: Served, count: number): Promise<NbdClient> {
  const { client } = await NbdClient.ready({ unix: server.socket }, "an export");
  client.request({ type: 0, offset: 0n, count });
  return client;
}

const servers = [
  { what: "this server", command: program, needs: [] },
  { what: "nbdkit (needs nbdkit)", command: ["nbdkit"], needs: ["nbdkit"] },
] as const;

describe.skipIf(!haveCompiler)("functions for modules (needs cc)", () => {
  test.each([...answers, ...ownAnswers])("%s -> %s", async (word, answer) => {
    expect(await ours).toContainEqual([word, answer]);
  });
  const ours = haveCompiler ? ask(program, [...answers, ...ownAnswers]) : undefined;

  test.skipIf(!installed("nbdkit"))("give the same answers in nbdkit (needs nbdkit)", async () => {
    expect(await ask(["nbdkit"], answers)).toEqual(answers);
  });

  describe.each(servers)("in $what", ({ command, needs }) => {
    const usable = needs.every((name) => installed(name));

    test.skipIf(!usable)("know the client only in its own callbacks", async () => {
      await using server = await serve([await asking(), "outside=1"], { program: command });
      await using client = await reading(server, 1);
      await client.reply();
      await server.printed(/in pread -> process/);
      const uid = process.getuid?.() ?? 0;
      const gid = process.getgid?.() ?? 0;
      const known = (when: string): (readonly [string, string])[] => [
        [when, "export an export, TLS 0, peer 0 family 1"],
        [when, "truncated peer 0: byte 255"],
        [when, `process 1, user ${uid}, group ${gid}`],
      ];
      const unknown: (readonly [string, string])[] = [
        ["outside", "export NULL, TLS -1, peer -1 family -1"],
        ["outside", "truncated peer -1: byte 255"],
        ["outside", "process 0, user -1, group -1"],
      ];
      expect(answersIn(server.stderr())).toEqual([
        ...unknown,
        ...known("in open"),
        ...known("in pread"),
      ]);
    });

    test.skipIf(!usable)("nbdkit_nanosleep returns when the client leaves", async () => {
      await using server = await serve([await asking()], { program: command });
      const client = await reading(server, 2);
      await server.printed(/sleep -> begins/);
      client.terminate();
      await server.printed(/sleep -> -1 1/);
    });

    test.skipIf(!usable)("nbdkit_nanosleep returns when the server stops", async () => {
      await using server = await serve([await asking()], { program: command });
      await using client = await reading(server, 2);
      await server.printed(/sleep -> begins/);
      server.process.kill("SIGTERM");
      await server.printed(/sleep -> -1 1/);
      client.terminate();
      expect(await server.process.exited).toBe(0);
    });

    test.skipIf(!usable)(
      "nbdkit_nanosleep on a module's own thread lasts until the server stops",
      async () => {
        await using server = await serve([await asking()], { program: command });
        const client = await reading(server, 6);
        await server.printed(/thread -> begins/);
        client.terminate();
        server.process.kill("SIGINT");
        await server.printed(/thread -> -1 1/);
        await server.printed(/cleanup -> over/);
        expect(await server.process.exited).toBe(0);
      },
    );

    test.skipIf(!usable)("nbdkit_shutdown stops the server", async () => {
      await using server = await serve([await asking()], { program: command });
      const client = await reading(server, 3);
      expect((await client.reply()).error).toBe(0);
      client.terminate();
      expect(await server.process.exited).toBe(0);
    });
  });

  test("a soft nbdkit_disconnect refuses the client's later requests", async () => {
    const ESHUTDOWN = 108;
    await using server = await serve([await asking()]);
    await using client = await reading(server, 4);
    expect((await client.reply()).error).toBe(0);
    await server.printed(/disconnect -> 0/);
    await client.take(4);
    client.request({ type: 0, offset: 0n, count: 1 });
    expect((await client.reply()).error).toBe(ESHUTDOWN);
  });

  test("a forced nbdkit_disconnect closes the connection of this client only", async () => {
    await using server = await serve([await asking()]);
    await using other = await reading(server, 1);
    await other.reply();
    await using client = await reading(server, 5);
    await client.closed;
    await server.printed(/disconnect -> 0/);
    await other.take(1);
    other.request({ type: 0, offset: 0n, count: 1 });
    expect((await other.reply()).error).toBe(0);
  });
});

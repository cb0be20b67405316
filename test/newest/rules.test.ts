/** The newest nbdkit does what test/abi has recorded, and its filters work the same in this server. */
import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { newestDebian } from "#test/newest";
import { program, run, serve } from "#test/server";

import { cases, modules, session, stumblingPlugin } from "../abi/opening-fixture.ts";

const newest = await newestDebian();
const needs = "needs" in newest ? ` ${newest.needs}` : haveCompiler ? "" : " (needs cc)";

describe.skipIf(needs !== "")(`the newest nbdkit${needs}`, () => {
  if ("needs" in newest) {
    test("answers", () => {});
    return;
  }
  const { inside, module, nbdkit, release } = newest;

  beforeAll(async () => void (await modules("1.44", release)), 60_000);

  test.each(cases)("opens layers as recorded: $title", async ({ parameters, seen }) => {
    const args = [...(await modules("1.44", release)), ...parameters];
    expect(await session(nbdkit, args, seen.length - 1)).toEqual({ seen: [...seen], code: 0 });
  });

  test("dumps bytes as recorded", async () => {
    const plugin = await compileModule("test/fixtures/hexdump.c");
    const command = [...nbdkit, "-v", "--name=x", "-U", "-", plugin, "--run", "true"];
    const { code, stderr } = await run(command);
    expect(code).toBe(0);
    const lines = stderr.split("\n").filter((line) => /^nbdkit\[x\]: debug: .*\|$/.test(line));
    const recorded = readFileSync(join(import.meta.dir, "../abi/hexdump-recorded.txt"), "utf8");
    expect(lines.map((line) => line.slice("nbdkit[x]: debug: ".length))).toEqual(
      recorded.trimEnd().split("\n"),
    );
    expect(stderr).toContain("NAME x\n");
  });

  test("sends the client the message of a failed open", async () => {
    const args = [await stumblingPlugin(), "stumbling-plugin=open@1"];
    await using server = await serve(args, { program: nbdkit });
    await using client = await NbdClient.connect({ unix: server.socket });
    await client.hello();
    const answer = await client.go();
    expect("data" in answer && new TextDecoder().decode(answer.data)).toBe("plugin: open@1");
  });

  describe.each([
    { where: "in this server", ours: true },
    { where: "in nbdkit", ours: false },
  ])("its filters, $where", ({ ours }) => {
    const command = ours ? [...inside, ...program] : nbdkit;
    const filter = (name: string) => `--filter=${ours ? module("filter", name) : name}`;

    test.each([
      { planned: "open@1", opens: 2 },
      { planned: "open@1,open@2,open@3", opens: 4 },
      { planned: "read@1,read@2", opens: 3 },
      { planned: "read@1,open@2,open@3", opens: 4 },
    ])("retry reopens the plugin: $planned", async ({ planned, opens }) => {
      const retry = ["retries=5", "retry-delay=10ms", "retry-exponential=no"];
      const args = [
        filter("retry"),
        await stumblingPlugin(),
        `stumbling-plugin=${planned}`,
        ...retry,
      ];
      await using server = await serve(args, { program: command });
      await using client = await NbdClient.connect({ unix: server.socket });
      await client.hello();
      expect(await client.go()).toMatchObject({ size: 4096n });
      const { data, error } = await client.ask({ type: 0, offset: 0n, count: 512 });
      expect({ error, text: data[511] }).toEqual({ error: 0, text: "x".charCodeAt(0) });
      // nbdkit waits for its clients before it ends.
      client.terminate();
      const { code, stderr } = await server.stop();
      expect(code).toBe(0);
      expect(stderr.match(/^STEP plugin open@\d+/gm)).toHaveLength(opens);
    });

    test("retry gives up after retries=1", async () => {
      const all = Array.from({ length: 9 }, (_, i) => `open@${i + 1}`).join(",");
      const args = [filter("retry"), await stumblingPlugin(), `stumbling-plugin=${all}`];
      const few = ["retries=1", "retry-delay=10ms"];
      await using server = await serve([...args, ...few], { program: command });
      await using client = await NbdClient.connect({ unix: server.socket });
      await client.hello();
      expect("type" in (await client.go())).toBe(true);
      client.terminate();
      expect((await server.stop()).code).toBe(0);
    });

    test("blocksize-policy reports the extents of a disk that ends within a block", async () => {
      const policy = ["blocksize-minimum=512", "blocksize-preferred=4096"];
      const data = [ours ? module("plugin", "data") : "data", "data=1 @1025 2"];
      const args = [filter("blocksize-policy"), ...data, ...policy];
      await using server = await serve(args, { program: command });
      await using client = (await NbdClient.structured({ unix: server.socket })).client;
      const seen = [];
      for (const [offset, count] of [
        [0n, 1026],
        [512n, 514],
        [1024n, 2],
      ] as const) {
        seen.push(await client.blockStatus(offset, count, 0));
      }
      expect(seen).toEqual([[[1024, 0]], [[512, 0]], [[2, 0]]]);
    });
  });
});

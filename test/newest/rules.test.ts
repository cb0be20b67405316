/**
 * What is recorded of the newest nbdkit is still so, and what its filters ask of a server that it
 * answers as theirs does.
 */
import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { newestDebian } from "#test/newest";
import { program, run, serve } from "#test/server";

import { cases, modules, session } from "../abi/opening-fixture.ts";

const newest = await newestDebian();
const needs = "needs" in newest ? ` ${newest.needs}` : haveCompiler ? "" : " (needs cc)";

describe.skipIf(needs !== "")(`the newest nbdkit${needs}`, () => {
  if ("needs" in newest) {
    test("answers", () => {});
    return;
  }
  const { inside, module, nbdkit, release } = newest;
  const stumbling = () =>
    compileModule("test/fixtures/stumbling.c", { defines: { PLUGIN: true, _GNU_SOURCE: true } });

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

  test("tells a client why open has failed", async () => {
    const args = [await stumbling(), "stumbling-plugin=open@1"];
    await using server = await serve(args, { program: nbdkit });
    await using client = await NbdClient.connect({ unix: server.socket });
    await client.hello();
    const answer = await client.go();
    expect("data" in answer && new TextDecoder().decode(answer.data)).toBe("plugin: open@1");
  });

  describe.each([
    { where: "in this server", ours: true },
    { where: "in its own", ours: false },
  ])("its filters, $where", ({ ours }) => {
    const command = ours ? [...inside, ...program] : nbdkit;
    const filter = (name: string) => `--filter=${ours ? module("filter", name) : name}`;

    test.each([
      { planned: "open@1", opens: 2 },
      { planned: "open@1,open@2,open@3", opens: 4 },
      { planned: "read@1,read@2", opens: 3 },
      { planned: "read@1,open@2,open@3", opens: 4 },
    ])("retry opens the plugin again: $planned", async ({ planned, opens }) => {
      const retry = ["retries=5", "retry-delay=10ms", "retry-exponential=no"];
      const args = [filter("retry"), await stumbling(), `stumbling-plugin=${planned}`, ...retry];
      await using server = await serve(args, { program: command });
      await using client = await NbdClient.connect({ unix: server.socket });
      await client.hello();
      expect(await client.go()).toMatchObject({ size: 4096n });
      const { data, error } = await client.ask({ type: 0, offset: 0n, count: 512 });
      expect({ error, text: data[511] }).toEqual({ error: 0, text: "x".charCodeAt(0) });
      // nbdkit does not end before its clients do.
      client.terminate();
      const { code, stderr } = await server.stop();
      expect(code).toBe(0);
      expect(stderr.match(/^STEP plugin open@\d+/gm)).toHaveLength(opens);
    });

    test("retry gives up", async () => {
      const all = Array.from({ length: 9 }, (_, i) => `open@${i + 1}`).join(",");
      const args = [filter("retry"), await stumbling(), `stumbling-plugin=${all}`];
      const few = ["retries=1", "retry-delay=10ms"];
      await using server = await serve([...args, ...few], { program: command });
      await using client = await NbdClient.connect({ unix: server.socket });
      await client.hello();
      expect("type" in (await client.go())).toBe(true);
      client.terminate();
      expect((await server.stop()).code).toBe(0);
    });

    // The last block is cut off.
    test("blocksize-policy tells the extents of a disk of 1026 bytes", async () => {
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

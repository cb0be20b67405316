/** A client gets the last message that a C module has logged in the error reply to its option or request. */
import { beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { chunkError, NbdClient } from "#test/client";
import { compileModule, haveCompiler, temporaryFolder } from "#test/modules";
import { serve } from "#test/server";

import { stumblingPlugin } from "./opening-fixture.ts";

const REP_ERR_UNKNOWN = 0x80000006;
const REP_ERR_PLATFORM = 0x80000004;

const filter = () =>
  compileModule("test/fixtures/stumbling.c", {
    defines: { _GNU_SOURCE: true, NBDKIT_FILTER_RELEASE: "NBDKIT_FILTER_RELEASE_1_44" },
  });

const decoder = new TextDecoder();

describe.skipIf(!haveCompiler)("a client (needs cc)", () => {
  let passing = "";
  let refusing = "";
  beforeAll(async () => {
    await Promise.all([filter(), stumblingPlugin()]);
    passing = join(temporaryFolder(), "passing.ts");
    writeFileSync(
      passing,
      'export default { name: "passing", pread: (next, _config, buf, at, flags) => next.pread(buf, at, flags) };',
    );
    refusing = join(temporaryFolder(), "refusing.ts");
    writeFileSync(
      refusing,
      `import { NbdError } from "nbdkit";
       export default {
         name: "refusing",
         open() { throw new NbdError("EPERM", "not today"); },
         getSize: () => 512n,
         pread() {},
       };`,
    );
  }, 60_000);

  /** The layers above the plugin. */
  const stacks: Readonly<Record<string, () => Promise<readonly string[]>>> = {
    alone: async () => [],
    "below C": async () => [`--filter=${await filter()}`],
    "below TypeScript": async () => [`--filter=${passing}`],
    "below C, below TypeScript": async () => [`--filter=${passing}`, `--filter=${await filter()}`],
    "below TypeScript, below C": async () => [`--filter=${await filter()}`, `--filter=${passing}`],
  };
  const everywhere = Object.keys(stacks);

  async function go(args: readonly string[]): Promise<unknown> {
    await using server = await serve(args);
    await using client = await NbdClient.connect({ unix: server.socket });
    await client.hello();
    const answer = await client.go();
    const lines = (await server.stop()).stderr.split("\n").filter((line) => /error: /.test(line));
    return "size" in answer
      ? answer
      : { type: answer.type, text: decoder.decode(answer.data), logged: lines.length };
  }

  test.each(everywhere)("gets the message of a C plugin that fails in open: %s", async (name) => {
    const stack = (await stacks[name]?.()) ?? [];
    const answer = await go([...stack, await stumblingPlugin(), "stumbling-plugin=open@1"]);
    expect(answer).toEqual({ type: REP_ERR_UNKNOWN, text: "plugin: open@1", logged: 1 });
  });

  test.each(everywhere)(
    "gets the message of a C plugin that fails in get_size: %s",
    async (name) => {
      const stack = (await stacks[name]?.()) ?? [];
      const answer = await go([...stack, await stumblingPlugin(), "stumbling-plugin=size@1"]);
      expect(answer).toEqual({ type: REP_ERR_UNKNOWN, text: "plugin: size@1", logged: 1 });
    },
  );

  test.each(["open", "prepare"])(
    "gets the message of a C filter that fails in %s",
    async (method) => {
      const args = [
        `--filter=${await filter()}`,
        await stumblingPlugin(),
        `stumbling-inner=${method}@1`,
      ];
      const answer = await go(args);
      expect(answer).toEqual({ type: REP_ERR_UNKNOWN, text: `inner: ${method}@1`, logged: 1 });
    },
  );

  test("gets the message of a TypeScript plugin that fails below a C filter", async () => {
    const answer = await go([`--filter=${await filter()}`, refusing]);
    expect(answer).toEqual({ type: REP_ERR_UNKNOWN, text: "not today", logged: 1 });
  });

  test("gets no message of a thread that does not serve it", async () => {
    const args = [await stumblingPlugin(), "stumbling-plugin=open@1", "stumbling-thread=1"];
    expect(await go(args)).toEqual({
      type: REP_ERR_UNKNOWN,
      text: "Input/output error",
      logged: 1,
    });
  });

  test.each(everywhere)(
    "gets the message of a C plugin that fails in list_exports: %s",
    async (name) => {
      const stack = (await stacks[name]?.()) ?? [];
      await using server = await serve([
        ...stack,
        await stumblingPlugin(),
        "stumbling-plugin=list@1",
      ]);
      await using client = await NbdClient.connect({ unix: server.socket });
      await client.hello();
      const [reply] = await client.option(3);
      expect(reply?.type).toBe(REP_ERR_PLATFORM);
      expect(decoder.decode(reply?.data)).toBe("plugin: list@1");
      // The next option does not get the message again.
      expect("size" in (await client.go())).toBe(true);
    },
  );

  test.each(everywhere)("gets the message of a C plugin that fails in pread: %s", async (name) => {
    const stack = (await stacks[name]?.()) ?? [];
    const parameter = "stumbling-plugin=read@1,read@3";
    await using server = await serve([...stack, await stumblingPlugin(), parameter]);
    await using client = (await NbdClient.structured({ unix: server.socket })).client;
    for (const read of [1, 2, 3]) {
      const chunk = await client.askChunk({ type: 0, offset: 0n, count: 16 });
      if (read === 2) expect(chunk.type).toBe(1);
      else
        expect(chunkError(chunk)).toEqual({
          error: 5,
          text: `plugin: read@${read}`,
          at: undefined,
        });
    }
  });
});

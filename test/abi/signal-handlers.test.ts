/** SIGSEGV handlers that modules install: they stay in force, and may call the server's handler. */
import { describe, expect, test } from "bun:test";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { serve } from "#test/server";

const SIGSEGV = 11;
const ENOSPC = 28;

/** Where the fixture installs its handler, and what the handler does. */
const places = { constructor: 1, plugin_init: 2, load: 3, get_ready: 4 } as const;
const recovers = 1;
const chains = 2;

describe.skipIf(!haveCompiler)("a module's handler of SIGSEGV (needs cc)", () => {
  const module = (install: number, does: number) =>
    compileModule("test/fixtures/handling.c", { defines: { INSTALL: install, DOES: does } });

  test.each(Object.entries(places))(
    "installed in %s, recovers from the module's faults",
    async (_, install) => {
      await using server = await serve([await module(install, recovers)]);
      await using client = (await NbdClient.ready({ unix: server.socket })).client;
      for (const offset of [0, 4096, 0]) {
        client.request({ type: 0, offset: BigInt(offset), count: 512 });
        expect((await client.reply()).error).toBe(ENOSPC);
      }
      const { code, stderr } = await server.stop();
      expect({ code, stderr }).toEqual({
        code: 0,
        stderr: "handling: got the signal\n".repeat(3),
      });
    },
  );

  test.each(Object.entries(places))(
    "installed in %s, may call the server's handler, which names the module",
    async (_, install) => {
      const path = await module(install, chains);
      await using server = await serve([path]);
      await using client = (await NbdClient.ready({ unix: server.socket })).client;
      client.request({ type: 0, offset: 0n, count: 512 });
      await client.closed;
      const { code, stderr } = await server.stop();
      expect({ code, stderr }).toEqual({
        code: 128 + SIGSEGV,
        stderr:
          "handling: got the signal\n" +
          `nbdkit: the plugin handling (${path}) crashed in pread: Segmentation fault\n`,
      });
    },
  );
});

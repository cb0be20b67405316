/** The log names a module that blocks JavaScript, while it does. */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { serve } from "#test/server";

setDefaultTimeout(60_000);

const plugin = join(import.meta.dir, "blocking-fixture.ts");
const folder = mkdtempSync(join(tmpdir(), "nbdkit-blocking-"));
afterAll(() => rmSync(folder, { recursive: true }));

test.each([
  ["pread", 0, "blocking: pread has blocked the server for 2 s"],
  [
    "pwrite",
    1,
    "the server has been blocked for 2 s by JavaScript outside calls of layers, perhaps code after an await in blocking: pwrite",
  ],
])("the log names a plugin that blocks in %s while it does", async (method, type, message) => {
  const until = join(folder, method);
  await using server = await serve([plugin, `until=${until}`]);
  const { client } = await NbdClient.ready({ unix: server.socket });
  const payload = type === 1 ? { payload: new Uint8Array(512) } : {};
  client.request({ type, offset: 0n, count: 512, ...payload });
  await server.printed(/has (?:been )?blocked/);
  expect(client.available).toBe(0);
  writeFileSync(until, "");
  expect((await client.reply()).error).toBe(0);
  client.terminate();
  expect(await server.stop()).toEqual({ code: 0, stderr: `nbdkit: error: ${message}\n` });
});

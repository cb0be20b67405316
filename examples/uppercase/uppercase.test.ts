/** Tests of the uppercase example and its manual, in the test process and in the server. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdError } from "#api";
import { above, errnoOf } from "#test/chain";
import { NbdClient } from "#test/client";
import { serve } from "#test/server";

import uppercase from "./uppercase.ts";

const disk = () => new TextEncoder().encode("`az{ AZ 09 ä\n");
const shown = "`AZ{ AZ 09 ä\n";

describe("the uppercase example", () => {
  test.each([false, true])(
    "shows letters as capitals (the layer below answers later: %p)",
    async (later) => {
      await using stack = await above(disk(), uppercase, {}, { later });
      const buf = new Uint8Array(stack.disk.length);
      await stack.next.getSize();
      const result = stack.next.pread(buf, 0n, 0);
      expect(result instanceof Promise).toBe(later);
      await result;
      expect(new TextDecoder().decode(buf)).toBe(shown);
      expect(stack.disk).toEqual(disk());
    },
  );

  test("refuses writes, even over a writable layer", async () => {
    await using stack = await above(disk(), uppercase);
    expect(await stack.next.canWrite()).toBe(false);
    expect(await errnoOf(() => stack.next.pwrite(new Uint8Array(1), 0n, 0))).toBe("EINVAL");
    expect(stack.calls).toEqual([]);
  });

  test("passes on errors of the layer below", async () => {
    const fail = () => {
      throw new NbdError("ENOMEDIUM", "the disk was taken out");
    };
    await using stack = await above(disk(), uppercase, {}, { fail });
    expect(await errnoOf(() => stack.next.pread(new Uint8Array(4), 0n, 0))).toBe("ENOMEDIUM");
  });

  test("is loaded by its path, and does not change the file below", async () => {
    const folder = mkdtempSync(join(tmpdir(), "nbdkit-uppercase-"));
    try {
      const notes = join(folder, "notes.txt");
      writeFileSync(notes, disk());
      await using server = await serve(["--filter=examples/uppercase/uppercase.ts", "file", notes]);
      const { client } = await NbdClient.ready({ unix: server.socket });
      await using connection = client;
      const { data } = await connection.ask({ type: 0, count: disk().length });
      expect(new TextDecoder().decode(data)).toBe(shown);
      const refused = await connection.ask({ type: 1, payload: new Uint8Array(1) });
      expect(refused.error).toBe(1); // EPERM
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

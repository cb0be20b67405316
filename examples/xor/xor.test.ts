/** Tests of the xor example and its manual, compiled and in the server. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { program, run, serve } from "#test/server";

const compiled = () => compileModule("examples/xor/xor.c");
const bytes = (count: number, of: (index: number) => number) =>
  Uint8Array.from({ length: count }, (_, index) => of(index));

describe.skipIf(!haveCompiler)("the xor example (needs cc)", () => {
  test("stores changed data, and returns the original data", async () => {
    const folder = mkdtempSync(join(tmpdir(), "nbdkit-xor-"));
    try {
      const image = join(folder, "disk.img");
      writeFileSync(image, new Uint8Array(1 << 17));
      await using server = await serve([
        `--filter=${await compiled()}`,
        "file",
        image,
        "xor-key=90",
      ]);
      const { client } = await NbdClient.ready({ unix: server.socket });
      await using connection = client;
      const data = bytes(100_000, (index) => index & 255);
      expect((await connection.ask({ type: 1, payload: data })).error).toBe(0);
      expect((await connection.ask({ type: 0, count: data.length })).data).toEqual(data);
      expect(
        readFileSync(image)
          .subarray(0, data.length)
          .equals(data.map((byte) => byte ^ 90)),
      ).toBe(true);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("changes data on reads, and zeroes by writing the key", async () => {
    await using server = await serve([
      `--filter=${await compiled()}`,
      "memory",
      "1M",
      "xor-key=90",
    ]);
    const { client } = await NbdClient.ready({ unix: server.socket });
    await using connection = client;
    // The memory holds zeroes.
    expect((await connection.ask({ type: 0, count: 4 })).data).toEqual(bytes(4, () => 90));
    // The filter writes this in two pieces of at most 64 KiB.
    expect((await connection.ask({ type: 6, count: 100_000 })).error).toBe(0);
    const { data } = await connection.ask({ type: 0, count: 100_001 });
    expect(data).toEqual(bytes(100_001, (index) => (index < 100_000 ? 0 : 90)));
  });

  test.each(["0", "255"])("accepts the key %s", async (key) => {
    await using server = await serve([
      `--filter=${await compiled()}`,
      "memory",
      "1M",
      `xor-key=${key}`,
    ]);
    const { client } = await NbdClient.ready({ unix: server.socket });
    await using connection = client;
    expect((await connection.ask({ type: 0, count: 1 })).data).toEqual(bytes(1, () => Number(key)));
  });

  test.each([
    { keys: [], says: "xor-key is missing: expected xor-key=N, with N from 0 to 255" },
    { keys: ["xor-key=256"], says: "xor-key=256: expected a number from 0 to 255" },
    { keys: ["xor-key=-1"], says: "xor-key=-1: expected a number from 0 to 255" },
    { keys: ["xor-key="], says: "xor-key=: expected a number from 0 to 255" },
    { keys: ["xor-key=1x"], says: "xor-key=1x: expected a number from 0 to 255" },
  ])("refuses the keys $keys", async ({ keys, says }) => {
    const filter = `--filter=${await compiled()}`;
    const { code, stdout, stderr } = await run([
      ...program,
      "-U",
      "-",
      "-f",
      filter,
      "memory",
      "1M",
      ...keys,
    ]);
    expect({ code, stdout, first: stderr.split("\n")[0] }).toEqual({
      code: 1,
      stdout: "",
      first: `nbdkit: error: ${says}`,
    });
  });
});

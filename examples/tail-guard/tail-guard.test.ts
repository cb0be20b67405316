/** Tests of the tail-guard example and its manual, compiled and in the server. */
import { describe, expect, test } from "bun:test";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { program, run, serve } from "#test/server";

const filter = async () => `--filter=${await compileModule("examples/tail-guard/tail-guard.c")}`;
const size = 65536;
/** Request types and error numbers of the NBD protocol. */
const [WRITE, TRIM, ZERO] = [1, 4, 6];
const [OK, EPERM] = [0, 1];
/** NBD_FLAG_READ_ONLY */
const READ_ONLY = 2;

describe.skipIf(!haveCompiler)("the tail-guard example (needs cc)", () => {
  test.each([
    { words: [], guarded: 512 },
    { words: ["guard=3s"], guarded: 1536 },
    { words: ["guard=0"], guarded: 0 },
  ])("refuses changes to the last $guarded bytes with $words", async ({ words, guarded }) => {
    await using server = await serve([await filter(), "memory", String(size), ...words]);
    const { client } = await NbdClient.ready({ unix: server.socket });
    await using connection = client;
    const errors: Record<string, number[]> = {};
    for (const end of [size - guarded, size]) {
      const offset = BigInt(end - 8);
      const requests = [
        { type: WRITE, payload: new Uint8Array(8).fill(1), offset },
        { type: TRIM, count: 8, offset },
        { type: ZERO, count: 8, offset },
      ];
      errors[end] = [];
      for (const request of requests) errors[end].push((await connection.ask(request)).error);
    }
    const refused = guarded > 0 ? EPERM : OK;
    expect(errors).toEqual({
      [size - guarded]: [OK, OK, OK],
      [size]: [refused, refused, refused],
    });
  });

  test("refuses the whole write if it reaches one guarded byte, and logs the reason", async () => {
    await using server = await serve([await filter(), "memory", String(size)]);
    const { client } = await NbdClient.ready({ unix: server.socket });
    await using connection = client;
    const offset = BigInt(size - 512 - 7);
    const write = { type: WRITE, payload: new Uint8Array(8).fill(1), offset };
    expect((await connection.ask(write)).error).toBe(EPERM);
    const { data } = await connection.ask({ type: 0, count: 8, offset });
    expect(data).toEqual(new Uint8Array(8));
    await server.printed(
      /error: write of 8 bytes at 65017: the last 512 bytes of the disk are guarded\n/,
    );
  });

  test.each([
    { guard: size - 1, readOnly: false },
    { guard: size, readOnly: true },
  ])("makes a disk of 65536 bytes read-only with guard=$guard: $readOnly", async (it) => {
    const words = ["memory", String(size), `guard=${it.guard}`];
    await using server = await serve([await filter(), ...words]);
    const { client, export: disk } = await NbdClient.ready({ unix: server.socket });
    await using connection = client;
    expect((disk.eflags & READ_ONLY) !== 0).toBe(it.readOnly);
    const { error } = await connection.ask({ type: WRITE, payload: new Uint8Array(1) });
    expect(error).toBe(it.readOnly ? EPERM : OK);
  });

  test("refuses an invalid size", async () => {
    const words = ["memory", "1M", "guard=much"];
    const { code, stdout, stderr } = await run([
      ...program,
      "-f",
      "-U",
      "-",
      await filter(),
      ...words,
    ]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("much");
  });
});

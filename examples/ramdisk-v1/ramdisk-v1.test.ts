/** Tests of the ramdisk-v1 example and its manual, compiled and in the server. */
import { describe, expect, test } from "bun:test";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { program, run, serve } from "#test/server";

const plugin = async () => await compileModule("examples/ramdisk-v1/ramdisk-v1.c");
/** Request types and flags of the NBD protocol. */
const [READ, WRITE, TRIM, ZERO] = [0, 1, 4, 6];
const [FUA, NO_HOLE] = [1, 2];

describe.skipIf(!haveCompiler)("the ramdisk-v1 example (needs cc)", () => {
  test("starts with zeroes, and shares the disk between all clients", async () => {
    await using server = await serve([await plugin(), "size=64k"]);
    const one = await NbdClient.ready({ unix: server.socket });
    await using writer = one.client;
    expect(one.export.size).toBe(65536n);
    expect((await writer.ask({ type: READ, count: 65536 })).data).toEqual(new Uint8Array(65536));
    const payload = new TextEncoder().encode("hello");
    expect((await writer.ask({ type: WRITE, payload, offset: 65531n })).error).toBe(0);
    await using reader = (await NbdClient.ready({ unix: server.socket })).client;
    expect((await reader.ask({ type: READ, count: 5, offset: 65531n })).data).toEqual(payload);
  });

  test("gets a flush after a write with FUA, and a write after a zero that must not make a hole", async () => {
    await using server = await serve(["-v", await plugin(), "size=64k"]);
    await using client = (await NbdClient.ready({ unix: server.socket })).client;
    const payload = new Uint8Array(512).fill(7);
    expect((await client.ask({ type: WRITE, flags: FUA, payload })).error).toBe(0);
    await server.printed(/ramdisk1: pwrite count=512 offset=0 fua=0\n.*ramdisk1: flush\n/);
    expect((await client.ask({ type: ZERO, flags: NO_HOLE, count: 100 })).error).toBe(0);
    await server.printed(/ramdisk1: zero count=100 .*\n.*ramdisk1: pwrite count=100 offset=0/);
    expect((await client.ask({ type: TRIM, count: 100, offset: 200n })).error).toBe(0);
    const { data } = await client.ask({ type: READ, count: 512 });
    const isZero = (index: number) => index < 100 || (index >= 200 && index < 300);
    expect(data).toEqual(payload.map((byte, index) => (isZero(index) ? 0 : byte)));
  });

  test.each([
    { words: [], says: "size is missing: expected size=SIZE" },
    { words: ["disk=1"], says: "unknown parameter disk: expected size=SIZE" },
    {
      words: ["size=8191p"],
      says: "size=9222246136947933184: not enough memory: Cannot allocate memory",
    },
  ])("refuses $words", async ({ words, says }) => {
    const command = [...program, "-f", "-U", "-", await plugin(), ...words];
    const { code, stdout, stderr } = await run(command);
    expect({ code, stdout, first: stderr.split("\n")[0] }).toEqual({
      code: 1,
      stdout: "",
      first: `nbdkit: error: ${says}`,
    });
  });
});

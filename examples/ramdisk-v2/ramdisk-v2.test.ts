/** Tests of the ramdisk-v2 example and its manual, compiled and in the server. */
import { describe, expect, test } from "bun:test";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { program, run, serve } from "#test/server";

const plugin = async () => await compileModule("examples/ramdisk-v2/ramdisk-v2.c");
/** Request types, flags and error numbers of the NBD protocol. */
const [READ, WRITE, TRIM, ZERO] = [0, 1, 4, 6];
const [FUA, NO_HOLE, FAST_ZERO] = [1, 2, 16];
const [OK, ENOTSUP] = [0, 95];
/** A multiple of every page size of Linux. */
const page = 65536;

describe.skipIf(!haveCompiler)("the ramdisk-v2 example (needs cc)", () => {
  test("accepts the size without a key, starts with zeroes, and shares the disk between all clients", async () => {
    await using server = await serve([await plugin(), "1M"]);
    const one = await NbdClient.ready({ unix: server.socket });
    await using writer = one.client;
    expect(one.export.size).toBe(1048576n);
    const payload = new TextEncoder().encode("hello");
    expect((await writer.ask({ type: WRITE, payload, offset: 1048571n })).error).toBe(OK);
    await using reader = (await NbdClient.ready({ unix: server.socket })).client;
    const { data } = await reader.ask({ type: READ, count: 7, offset: 1048569n });
    expect(data).toEqual(Uint8Array.of(0, 0, ...payload));
  });

  test("gets the FUA flag, so the server does not flush", async () => {
    await using server = await serve(["-v", await plugin(), "size=1M"]);
    await using client = (await NbdClient.ready({ unix: server.socket })).client;
    const payload = new Uint8Array(512).fill(7);
    expect((await client.ask({ type: WRITE, flags: FUA, payload })).error).toBe(OK);
    expect((await client.ask({ type: READ, count: 512 })).data).toEqual(payload);
    const { code, stderr } = await server.stop();
    expect(code).toBe(0);
    expect(stderr).toContain("ramdisk2: pwrite count=512 offset=0 fua=1\n");
    expect(stderr).not.toContain("ramdisk2: flush");
  });

  test.each([
    { what: "whole pages", flags: FAST_ZERO, offset: page, count: 2 * page, error: OK },
    { what: "part of a page", flags: FAST_ZERO, offset: page, count: 100, error: ENOTSUP },
    {
      what: "pages that must stay allocated",
      flags: FAST_ZERO | NO_HOLE,
      offset: page,
      count: page,
      error: ENOTSUP,
    },
    { what: "pages and parts, slowly", flags: 0, offset: page - 100, count: page + 200, error: OK },
  ])("zeroes $what, or fails at once", async ({ flags, offset, count, error }) => {
    await using server = await serve([await plugin(), "1M"]);
    await using client = (await NbdClient.ready({ unix: server.socket })).client;
    const payload = new Uint8Array(4 * page).fill(7);
    await client.ask({ type: WRITE, payload });
    const zero = { type: ZERO, flags, offset: BigInt(offset), count };
    expect((await client.ask(zero)).error).toBe(error);
    if (error === OK) payload.fill(0, offset, offset + count);
    expect((await client.ask({ type: READ, count: payload.length })).data).toEqual(payload);
  });

  test("trims whole pages, and keeps parts of pages", async () => {
    await using server = await serve([await plugin(), "1M"]);
    await using client = (await NbdClient.ready({ unix: server.socket })).client;
    const payload = new Uint8Array(3 * page).fill(7);
    await client.ask({ type: WRITE, payload });
    const trim = { type: TRIM, offset: BigInt(page - 1), count: page + 2 };
    expect((await client.ask(trim)).error).toBe(OK);
    payload.fill(0, page, 2 * page);
    expect((await client.ask({ type: READ, count: payload.length })).data).toEqual(payload);
  });

  test("adds a line to --dump-plugin, which needs no size", async () => {
    const { code, stdout, stderr } = await run([...program, "--dump-plugin", await plugin()]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^ramdisk2_page_size=[0-9]+$/m);
  });

  test("refuses to start without a size", async () => {
    const command = [...program, "-f", "-U", "-", await plugin()];
    const { code, stdout, stderr } = await run(command);
    expect({ code, stdout, first: stderr.split("\n")[0] }).toEqual({
      code: 1,
      stdout: "",
      first: "nbdkit: error: size is missing: expected size=SIZE",
    });
  });
});

/** Tests of the clock example and its manual, in the test process and in the server. */
import { afterEach, describe, expect, setSystemTime, test } from "bun:test";

import { configured, errnoOf, overPlugin } from "#test/chain";
import { NbdClient } from "#test/client";
import { serve } from "#test/server";

import clock from "./clock.ts";

afterEach(() => void setSystemTime());

const page = (line: string) => `${line}\n`.padEnd(511, " ") + "\n";
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

describe("the clock example", () => {
  test.each([
    { texts: {}, line: "2024-05-17 09:30:00 UTC" },
    { texts: { zone: "Europe/Oslo" }, line: "2024-05-17 11:30:00 Europe/Oslo" },
  ])("shows the time as $line with $texts", async ({ texts, line }) => {
    setSystemTime(new Date("2024-05-17T09:30:00Z"));
    await using stack = await overPlugin(clock, texts);
    expect(await stack.next.getSize()).toBe(512n);
    const buf = new Uint8Array(512);
    await stack.next.pread(buf, 0n, 0);
    expect(text(buf)).toBe(page(line));
  });

  test("returns the time of the open, even if a connection reads it in parts", async () => {
    setSystemTime(new Date("2024-05-17T09:30:00Z"));
    await using stack = await overPlugin(clock);
    setSystemTime(new Date("2024-05-17T23:45:59Z"));
    await stack.next.getSize();
    const parts = [new Uint8Array(11), new Uint8Array(8)] as const;
    await stack.next.pread(parts[0], 0n, 0);
    await stack.next.pread(parts[1], 11n, 0);
    expect(parts.map(text)).toEqual(["2024-05-17 ", "09:30:00"]);
  });

  test("is read-only, since it has no pwrite", async () => {
    await using stack = await overPlugin(clock);
    expect(await stack.next.canWrite()).toBe(false);
    expect(await errnoOf(() => stack.next.pwrite(new Uint8Array(1), 0n, 0))).toBe("EINVAL");
  });

  test("refuses a zone that does not exist", async () => {
    await expect(configured(clock, { zone: "Moon/Tycho" })).rejects.toThrow(
      "zone=Moon/Tycho: expected a time zone such as Europe/Oslo",
    );
  });

  test("is loaded by its path, and accepts the zone without a key", async () => {
    await using server = await serve(["examples/clock/clock.ts", "Europe/Oslo"]);
    const { client, export: disk } = await NbdClient.ready({ unix: server.socket });
    await using connection = client;
    expect(disk.size).toBe(512n);
    const { error, data } = await connection.ask({ type: 0, count: 512 });
    expect(error).toBe(0);
    expect(text(data)).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d Europe\/Oslo\n *\n$/);
  });
});

/** Tests of the functions that layers use on behalf of clients. */
import { describe, expect, test } from "bun:test";

import { peerAddress, sleep } from "./client.ts";

const bytes = (...parts: readonly (number | readonly number[])[]) => Uint8Array.from(parts.flat());
const text = (it: string) => [...new TextEncoder().encode(it)];

describe("peerAddress", () => {
  test.each([
    {
      what: "an IPv4 client",
      name: bytes(2, 0, 0x12, 0x34, 192, 0, 2, 7, Array<number>(8).fill(0)),
      is: { family: "IPv4", address: "192.0.2.7", port: 0x1234 },
    },
    {
      what: "an IPv6 client",
      name: bytes(
        [10, 0, 0x12, 0x34, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8],
        Array<number>(11).fill(0),
        [0xab, 0, 0, 0, 0],
      ),
      is: { family: "IPv6", address: "2001:db8::ab", port: 0x1234 },
    },
    { what: "a Unix client", name: bytes(1, 0), is: { family: "unix", path: "" } },
    {
      what: "a Unix client with a path",
      name: bytes(1, 0, text("/tmp/client"), [0, 9, 9]),
      is: { family: "unix", path: "/tmp/client" },
    },
    {
      what: "a Unix client with an abstract name",
      name: bytes(1, 0, [0], text("client")),
      is: { family: "unix", path: "\0client" },
    },
    {
      what: "a vsock client",
      name: bytes(40, 0, 0, 0, [0x39, 0x30, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0]),
      is: { family: "vsock", cid: 3, port: 12345 },
    },
    { what: "another family", name: bytes(16, 0, Array<number>(20).fill(0)), is: undefined },
    { what: "an address that is cut short", name: bytes(2, 0, 1), is: undefined },
    { what: "nothing", name: bytes(), is: undefined },
  ])("reads $what", ({ name, is }) => {
    expect(peerAddress(name)).toEqual(is as ReturnType<typeof peerAddress>);
  });

  test("reads an address that lies within a larger buffer", () => {
    const name = bytes(9, 9, [2, 0, 0, 80, 127, 0, 0, 1]).subarray(2);
    expect(peerAddress(name)).toEqual({ family: "IPv4", address: "127.0.0.1", port: 80 });
  });
});

describe("sleep", () => {
  const givenUp = {
    errno: "ESHUTDOWN",
    message: "gave up a sleep of 86400000 ms: the connection ends",
  };
  const day = 86_400_000;

  test("wakes up by itself", async () => {
    const { signal } = new AbortController();
    await sleep(0);
    await sleep(1, signal);
  });

  test("gives up when the connection ends", async () => {
    const client = new AbortController();
    const waiting = sleep(day, client.signal);
    client.abort();
    await expect(waiting).rejects.toMatchObject(givenUp);
  });

  test("lasts longer than a timer can", async () => {
    const client = new AbortController();
    const months = sleep(2 ** 40, client.signal);
    await sleep(2);
    client.abort();
    await expect(months).rejects.toMatchObject({ errno: "ESHUTDOWN" });
  });

  test("does not begin when the connection has ended", async () => {
    await expect(sleep(day, AbortSignal.abort())).rejects.toMatchObject(givenUp);
  });
});

/** The newstyle handshake on the wire: every option, every refusal, and the limits. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";

import { bytes, infoPayload, type NbdClient, option, request } from "#test/client";

import { Held, NbdError, quiet, running, turns } from "./server-fixture.ts";

const ACK = 1;
const SERVER = 2;
const INFO = 3;
const ERR_UNSUP = 0x80000001;
const ERR_INVALID = 0x80000003;
const ERR_UNKNOWN = 0x80000006;

let logged: ReturnType<typeof quiet>;
beforeEach(() => {
  logged = quiet();
});
afterEach(() => {
  logged[Symbol.dispose]();
});

const types = (replies: readonly { readonly type: number }[]) => replies.map(({ type }) => type);

/** GO still works, so the server has read all earlier bytes correctly. */
async function goes(client: NbdClient): Promise<void> {
  expect(await client.go()).toHaveProperty("size", 65536n);
}
describe("greeting and flags", () => {
  test("offers fixed newstyle and no zeroes", async () => {
    await using it = await running();
    expect(await (await it.connect()).hello()).toBe(3);
  });

  test.each(["0x4", "0x80000003"])("disconnects a client with unknown flags %s", async (flags) => {
    await using it = await running();
    const client = await it.connect();
    await client.hello(Number(flags));
    await client.closed;
    expect(logged.lines.join()).toContain("client flags");
  });

  test("refuses all options but EXPORT_NAME from a client without fixed newstyle", async () => {
    await using it = await running();
    const client = await it.connect();
    await client.hello(2);
    expect(types(await client.option(7, infoPayload("")))).toEqual([ERR_INVALID]);
    expect(types(await client.option(3))).toEqual([ERR_INVALID]);
    expect((await client.exportName("x")).size).toBe(65536n);
  });

  test("disconnects at a wrong option magic", async () => {
    await using it = await running();
    const client = await it.connect();
    await client.hello();
    client.send(bytes(0x1234567890abcdefn, 7, 0));
    await client.closed;
    expect(logged.lines.join()).toContain("wrong magic number 0x1234567890abcdef");
  });
});

describe("EXPORT_NAME", () => {
  test.each([
    { flags: 3, zeroes: 0 },
    { flags: 1, zeroes: 124 },
    { flags: 0, zeroes: 124 },
  ])("with client flags $flags is followed by $zeroes zeroes", async ({ flags, zeroes }) => {
    await using it = await running();
    const client = await it.connect();
    await client.hello(flags);
    const result = await client.exportName("any", zeroes === 0);
    expect(result.size).toBe(65536n);
    expect(result.zeroes).toEqual(new Uint8Array(zeroes));
    expect((await client.ask({ type: 0, count: 16 })).data).toEqual(it.disk.subarray(0, 16));
  });

  test("accepts a name of 4096 bytes, and no more", async () => {
    await using it = await running();
    const client = await it.connect();
    await client.hello();
    expect((await client.exportName("x".repeat(4096))).size).toBe(65536n);
    const other = await it.connect();
    await other.hello();
    other.send(option(1, new Uint8Array(4097).fill(120)));
    await other.closed;
  });

  test("disconnects at a zero byte in the name", async () => {
    await using it = await running();
    const client = await it.connect();
    await client.hello();
    client.send(option(1, bytes("a\0b")));
    await client.closed;
  });

  test("disconnects if opening the layers fails", async () => {
    await using it = await running({
      plugin: {
        open: () => {
          throw new NbdError("ENOENT", "no such export here");
        },
      },
    });
    const client = await it.connect();
    await client.hello();
    client.send(option(1));
    await client.closed;
    expect(logged.lines).toEqual(["disk[1]: error: disk: no such export here"]);
  });
});

describe("ABORT and LIST", () => {
  test("ABORT is acknowledged, then the connection ends", async () => {
    await using it = await running();
    const client = await it.connect();
    await client.hello();
    expect(types(await client.option(2))).toEqual([ACK]);
    await client.closed;
    expect(logged.lines).toEqual([]);
  });

  test("LIST returns one export with an empty name, each time", async () => {
    await using it = await running();
    const client = await it.connect();
    await client.hello();
    for (let i = 0; i < 3; i++) {
      const replies = await client.option(3);
      expect(types(replies)).toEqual([SERVER, ACK]);
      expect(replies[0]?.data).toEqual(new Uint8Array(4));
    }
    await goes(client);
  });

  test("LIST with a payload is refused", async () => {
    await using it = await running();
    const client = await it.connect();
    await client.hello();
    expect(types(await client.option(3, new Uint8Array(5)))).toEqual([ERR_INVALID]);
    await goes(client);
  });
});

describe("INFO and GO", () => {
  test("send INFO_EXPORT first, and the name only when asked", async () => {
    await using it = await running();
    const client = await it.connect();
    await client.hello();
    expect(types(await client.option(6, infoPayload("a")))).toEqual([INFO, ACK]);
    const replies = await client.option(6, infoPayload("näme", [3, 1, 2, 0, 1, 77]));
    expect(types(replies)).toEqual([INFO, INFO, ACK]);
    expect(replies[0]?.data.length).toBe(12);
    expect(replies[1]?.data).toEqual(bytes([2, 1], "näme"));
  });

  test("INFO closes the layers again, GO leaves them open", async () => {
    const events: string[] = [];
    await using it = await running({
      plugin: {
        open: (_config: unknown, readonly: boolean, name: string) => {
          events.push(`open ${readonly} ${name}`);
          return {};
        },
        close: () => void events.push("close"),
      },
    });
    const client = await it.connect();
    await client.hello();
    await client.option(6, infoPayload("one"));
    expect(events).toEqual(["open false one", "close"]);
    await client.go("two");
    expect(events).toEqual(["open false one", "close", "open false two"]);
    client.request({ type: 2 });
    await client.closed;
    expect(events.at(-1)).toBe("close");
  });

  test.each([
    { what: "an empty payload", data: new Uint8Array(0) },
    { what: "a name longer than the payload", data: bytes(100, "short", [2, 0]) },
    { what: "more information requests than there are", data: bytes(0, [2, 2], [2, 1]) },
    { what: "bytes left over", data: bytes(0, [2, 0], [2, 1]) },
    { what: "a zero byte in the name", data: infoPayload("a\0b") },
    { what: "a name of 4097 bytes", data: infoPayload("x".repeat(4097)) },
    { what: "more than anything well-formed", data: new Uint8Array(200_000) },
  ])("answer ERR_INVALID to $what", async ({ data }) => {
    await using it = await running();
    const client = await it.connect();
    await client.hello();
    for (const number of [6, 7]) {
      expect(types(await client.option(number, data))).toEqual([ERR_INVALID]);
    }
    await goes(client);
  });

  test("accept a name of 4096 bytes and 65535 info requests", async () => {
    await using it = await running();
    const client = await it.connect();
    await client.hello();
    const data = infoPayload(
      "x".repeat(4096),
      Array.from({ length: 65535 }, () => 1),
    );
    expect(types(await client.option(7, data))).toEqual([INFO, INFO, ACK]);
  });

  test("return ERR_UNKNOWN with the error's text if open fails, and the client may try again", async () => {
    const events: string[] = [];
    await using it = await running({
      plugin: {
        open: (_config: unknown, _readonly: boolean, name: string) => {
          events.push(`open ${name}`);
          if (name === "bad") throw new NbdError("ENOENT", "there is no bad");
          return {};
        },
        close: () => void events.push("close"),
      },
    });
    const client = await it.connect();
    await client.hello();
    for (const number of [6, 7]) {
      const replies = await client.option(number, infoPayload("bad"));
      expect(types(replies)).toEqual([ERR_UNKNOWN]);
      expect(new TextDecoder().decode(replies[0]?.data)).toBe("there is no bad");
    }
    await client.go("good");
    expect(events).toEqual(["open bad", "open bad", "open good"]);
  });

  test("close the layers if a question fails", async () => {
    const events: string[] = [];
    let broken = true;
    await using it = await running({
      plugin: {
        close: () => void events.push("close"),
        canFlush: () => {
          if (broken) throw new NbdError("EIO", "cannot tell");
          return true;
        },
      },
    });
    const client = await it.connect();
    await client.hello();
    expect(await client.go()).toHaveProperty("type", ERR_UNKNOWN);
    expect(events).toEqual(["close"]);
    broken = false;
    await goes(client);
  });
});

describe("other options", () => {
  test.each([11, 0, 4, 12345, 0xffffffff])("option %d is ERR_UNSUP", async (number) => {
    await using it = await running();
    const client = await it.connect();
    await client.hello();
    expect(types(await client.option(number))).toEqual([ERR_UNSUP]);
    expect(types(await client.option(number, new Uint8Array(300_000)))).toEqual([ERR_UNSUP]);
    await goes(client);
  });

  test("a payload of 64 MiB is skipped, a longer one ends the connection", async () => {
    await using it = await running();
    const client = await it.connect();
    await client.hello();
    expect(types(await client.option(999, new Uint8Array(64 << 20)))).toEqual([ERR_UNSUP]);
    expect(it.server.heldBytes).toBeLessThan(1 << 20);
    client.send(bytes(0x49484156454f5054n, 999, (64 << 20) + 1));
    await client.closed;
  });

  test("32 options are accepted, and 32 more after LIST", async () => {
    await using it = await running();
    for (const listed of [false, true]) {
      const client = await it.connect();
      await client.hello();
      if (listed) await client.option(3);
      for (let i = 0; i < (listed ? 63 : 32); i++) {
        expect(types(await client.option(999))).toEqual([ERR_UNSUP]);
      }
      await client.closed;
    }
    expect(logged.lines).toHaveLength(2);
    expect(logged.lines[0]).toContain("too much time negotiating");
  });

  test("GO is accepted as the 32nd option", async () => {
    await using it = await running();
    const client = await it.connect();
    await client.hello();
    for (let i = 0; i < 31; i++) await client.option(999);
    await goes(client);
  });

  test("options may arrive in pieces or all at once", async () => {
    await using it = await running();
    const all = bytes(3, option(3), option(999, new Uint8Array(7)), option(7, infoPayload("")));
    for (const size of [1, 17, all.length]) {
      const client = await it.connect();
      for (let at = 0; at < all.length; at += size) client.send(all.subarray(at, at + size));
      await client.take(18);
      const seen: number[] = [];
      while (seen.at(-1) !== ACK || seen.length < 5) seen.push((await client.optionReply()).type);
      expect(seen).toEqual([SERVER, ACK, ERR_UNSUP, INFO, ACK]);
    }
  });
});

describe("clients that leave", () => {
  test.each([
    { what: "before the flags", data: new Uint8Array(0), error: "" },
    { what: "within the flags", data: new Uint8Array(2), error: "middle of its flags" },
    { what: "between options", data: bytes(3, option(3)), error: "" },
    { what: "within an option's header", data: bytes(3, 1, 2), error: "middle of an option" },
    {
      what: "within a payload",
      data: bytes(3, option(7, new Uint8Array(50)).subarray(0, 30)),
      error: "middle of an option",
    },
    {
      what: "within a payload that is skipped",
      data: bytes(3, option(999, new Uint8Array(50)).subarray(0, 30)),
      error: "middle of an option",
    },
  ])("$what", async ({ data, error }) => {
    await using it = await running();
    const client = await it.connect();
    client.send(data);
    client.shutdown();
    await client.closed;
    expect(it.server.connections).toBe(0);
    if (error === "") expect(logged.lines).toEqual([]);
    else expect(logged.lines.join()).toContain(error);
  });

  test("after sending everything before the greeting get all replies", async () => {
    const held = new Held();
    await using it = await running({ plugin: { preconnect: () => held.wait("preconnect") } });
    const client = await it.connect();
    client.send(bytes(3, option(7, infoPayload("")), request({ type: 0, count: 512 })));
    client.shutdown();
    await held.reached(1);
    await turns();
    held.release("preconnect");
    await client.closed;
    await client.take(18);
    expect((await client.optionReply()).type).toBe(INFO);
    expect((await client.optionReply()).type).toBe(ACK);
    expect((await client.reply()).error).toBe(0);
    expect(await client.take(512)).toEqual(it.disk.subarray(0, 512));
  });

  test("before sending anything are disconnected, whatever the server waits for", async () => {
    const held = new Held();
    await using it = await running({
      threadModel: "serialize_connections",
      plugin: { preconnect: () => held.wait("preconnect") },
    });
    const first = await it.connect();
    await held.reached(1);
    const other = await it.connect();
    other.shutdown();
    await other.closed;
    expect(other.available).toBe(0);
    held.releaseAll();
    await first.hello();
  });

  test("get no greeting if preconnect fails", async () => {
    await using it = await running({
      plugin: {
        preconnect: () => {
          throw new NbdError("EPERM", "not you");
        },
      },
    });
    const client = await it.connect();
    await client.closed;
    expect(client.available).toBe(0);
    expect(logged.lines).toEqual(["disk[1]: error: disk: not you"]);
  });
});

test("debug lines describe each step of a connection", async () => {
  using lines = quiet(true);
  await using it = await running();
  await it.ready();
  const story = lines.lines.filter(
    (line) => line.startsWith("disk[1]") && !line.includes("disk: "),
  );
  expect(story).toEqual([
    "disk[1]: debug: newstyle negotiation: flags: global 0x3",
    "disk[1]: debug: newstyle negotiation: client flags: 0x3",
    "disk[1]: debug: newstyle negotiation: NBD_OPT_GO: client requested export ''",
    "disk[1]: debug: newstyle negotiation: flags: export 0xd6d",
    "disk[1]: debug: replying to NBD_OPT_GO with NBD_REP_ACK",
    "disk[1]: debug: handshake complete, processing requests with 16 threads",
  ]);
});

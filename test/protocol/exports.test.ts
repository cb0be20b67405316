/** Lists of exports, default exports, and infos about an export besides its size. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";

import { bytes, infoPayload, type OptionReply, request } from "#test/client";

import type { Exports } from "../../src/lib/exports.ts";
import { NbdError, quiet, running } from "./server-fixture.ts";

const [ACK, SERVER, INFO_REPLY] = [1, 2, 3] as const;
const [ERR_PLATFORM, ERR_UNKNOWN] = [0x80000004, 0x80000006] as const;
const [LIST, INFO, GO] = [3, 6, 7] as const;
const [NAME, DESCRIPTION, BLOCK_SIZE] = [1, 2, 3] as const;

let logged: ReturnType<typeof quiet>;
beforeEach(() => {
  logged = quiet();
});
afterEach(() => {
  logged[Symbol.dispose]();
});

const types = (replies: readonly { readonly type: number }[]) => replies.map(({ type }) => type);

/** [name, description] of each export in the replies to LIST. */
function listed(replies: readonly OptionReply[]): (readonly [string, string])[] {
  return replies
    .filter(({ type }) => type === SERVER)
    .map(({ data }) => {
      const length = new DataView(data.buffer, data.byteOffset).getUint32(0);
      const decoder = new TextDecoder();
      return [
        decoder.decode(data.subarray(4, 4 + length)),
        decoder.decode(data.subarray(4 + length)),
      ];
    });
}

describe("LIST", () => {
  test("returns the default export if the plugin has no list", async () => {
    await using it = await running();
    const client = await it.connect();
    await client.hello();
    const replies = await client.option(LIST);
    expect(types(replies)).toEqual([SERVER, ACK]);
    expect(listed(replies)).toEqual([["", ""]]);
  });

  test("returns names and descriptions in the plugin's order", async () => {
    const listExports = (_c: unknown, _r: boolean, _t: boolean, exports: Exports) => {
      exports.add("zwei", "the second");
      exports.useDefault();
      exports.add("äins");
    };
    const plugin = { listExports, defaultExport: () => "main" };
    await using it = await running({ plugin });
    const client = await it.connect();
    await client.hello();
    expect(listed(await client.option(LIST))).toEqual([
      ["zwei", "the second"],
      ["äins", ""],
      ["main", ""],
    ]);
  });

  test("may return nothing", async () => {
    await using it = await running({ plugin: { listExports: () => {} } });
    const client = await it.connect();
    await client.hello();
    expect(types(await client.option(LIST))).toEqual([ACK]);
    // The empty list adds nothing to the 32 options.
    for (let i = 1; i < 32; i++) expect(types(await client.option(LIST))).toEqual([ACK]);
    await client.closed;
  });

  test("returns ERR_PLATFORM if the plugin fails, and the client may go on", async () => {
    let broken = true;
    const listExports = (_c: unknown, _r: boolean, _t: boolean, exports: Exports) => {
      if (broken) throw new NbdError("EIO", "the folder is gone");
      exports.add("back");
    };
    await using it = await running({ plugin: { listExports } });
    const client = await it.connect();
    await client.hello();
    const replies = await client.option(LIST);
    expect(types(replies)).toEqual([ERR_PLATFORM]);
    expect(new TextDecoder().decode(replies[0]?.data)).toBe("the folder is gone");
    expect(logged.lines).toEqual(["disk[1]: error: disk: the folder is gone"]);
    broken = false;
    expect(listed(await client.option(LIST))).toEqual([["back", ""]]);
  });

  test("calls the plugin again each time", async () => {
    let name = "first";
    const listExports = (_c: unknown, _r: boolean, _t: boolean, exports: Exports) => {
      exports.add(name);
    };
    await using it = await running({ plugin: { listExports } });
    const client = await it.connect();
    await client.hello();
    expect(listed(await client.option(LIST))).toEqual([["first", ""]]);
    name = "second";
    expect(listed(await client.option(LIST))).toEqual([["second", ""]]);
    // A list adds 32 options for each export, but only the first time.
    for (let i = 2; i < 64; i++) expect(types(await client.option(LIST))).toEqual([SERVER, ACK]);
    await client.closed;
  });

  test("waits with 10000 long names for a client that does not read, and fails with more", async () => {
    let count = 10_000;
    const listExports = (_c: unknown, _r: boolean, _t: boolean, exports: Exports) => {
      for (let i = 0; i < count; i++) exports.add(`${i}`.padEnd(4096, "n"), "d".repeat(4096));
    };
    await using it = await running({ plugin: { listExports } });
    const client = await it.connect();
    await client.hello();
    client.pause();
    client.send(bytes(0x49484156454f5054n, LIST, 0));
    await client.sent();
    // The other client gets its reply after the first one's list has begun.
    const other = await it.connect();
    await other.hello();
    await other.option(2);
    expect(it.server.heldBytes).toBeLessThan(1 << 20);
    client.resume();
    for (let i = 0; i < count; i++) {
      const { type, data } = await client.optionReply();
      expect(type).toBe(SERVER);
      expect(data).toHaveLength(4 + 8192);
    }
    expect((await client.optionReply()).type).toBe(ACK);
    // Each export adds 32 options.
    for (let i = 0; i < 100; i++) await client.option(999);
    expect(await client.go()).toHaveProperty("size");

    count = 10_001;
    const third = await it.connect();
    await third.hello();
    expect(types(await third.option(LIST))).toEqual([ERR_PLATFORM]);
  });
});

describe("the default export", () => {
  const opened: string[] = [];
  const open = (_config: unknown, _readonly: boolean, name: string) => {
    opened.push(name);
    return {};
  };
  beforeEach(() => void opened.splice(0));

  test("is opened by its name, which INFO_NAME returns", async () => {
    await using it = await running({ plugin: { open, defaultExport: () => "mäin" } });
    const client = await it.connect();
    await client.hello();
    for (const option of [INFO, GO]) {
      const replies = await client.option(option, infoPayload("", [NAME]));
      expect(types(replies)).toEqual([INFO_REPLY, INFO_REPLY, ACK]);
      expect(replies[1]?.data).toEqual(bytes([2, NAME], "mäin"));
    }
    expect(opened).toEqual(["mäin", "mäin"]);
  });

  test("is opened by its name with EXPORT_NAME", async () => {
    await using it = await running({ plugin: { open, defaultExport: () => "main" } });
    const client = await it.connect();
    await client.hello();
    await client.exportName("");
    expect(opened).toEqual(["main"]);
  });

  test("may be absent, and then the client must give a name", async () => {
    await using it = await running({ plugin: { open, defaultExport: () => undefined } });
    const client = await it.connect();
    await client.hello();
    expect(types(await client.option(GO, infoPayload("")))).toEqual([ERR_UNKNOWN]);
    expect(types(await client.option(GO, infoPayload("x", [NAME])))).toEqual([
      INFO_REPLY,
      INFO_REPLY,
      ACK,
    ]);
    expect(opened).toEqual(["x"]);
  });

  test("may have a name of 4096 bytes", async () => {
    await using it = await running({ plugin: { open } });
    const name = "ü".repeat(2048);
    await it.ready(name);
    expect(opened).toEqual([name]);
  });
});

describe("INFO", () => {
  test("returns the plugin's description and block sizes in the requested order", async () => {
    const plugin = {
      exportDescription: () => "a dïsk",
      blockSize: () => ({ minimum: 512, preferred: 4096, maximum: 0xffffffff }),
    };
    await using it = await running({ plugin });
    const client = await it.connect();
    await client.hello();
    for (const option of [INFO, GO]) {
      const infos = [BLOCK_SIZE, 9, NAME, DESCRIPTION, BLOCK_SIZE, 0];
      const replies = await client.option(option, infoPayload("x", infos));
      expect(types(replies)).toEqual([INFO_REPLY, INFO_REPLY, INFO_REPLY, INFO_REPLY, ACK]);
      expect(replies[0]?.data[1]).toBe(0);
      expect(replies[1]?.data).toEqual(bytes([2, BLOCK_SIZE], 512, 4096, 0xffffffff));
      expect(replies[2]?.data).toEqual(bytes([2, NAME], "x"));
      expect(replies[3]?.data).toEqual(bytes([2, DESCRIPTION], "a dïsk"));
    }
  });

  test("omits missing infos, and asks layers only for requested ones", async () => {
    const asked: string[] = [];
    const plugin = {
      exportDescription: () => void asked.push("description"),
      blockSize: () => {
        asked.push("block size");
        return { minimum: 0, preferred: 0, maximum: 0 };
      },
    };
    await using it = await running({ plugin });
    const client = await it.connect();
    await client.hello();
    expect(types(await client.option(INFO, infoPayload("", [])))).toEqual([INFO_REPLY, ACK]);
    expect(asked).toEqual([]);
    const replies = await client.option(INFO, infoPayload("", [BLOCK_SIZE, DESCRIPTION]));
    expect(types(replies)).toEqual([INFO_REPLY, ACK]);
    expect(asked).toEqual(["block size", "description"]);
  });

  test.each([
    { what: "fails", blockSize: () => Promise.reject(new NbdError("EIO", "cannot tell")) },
    { what: "is no block size", blockSize: () => ({ minimum: 3, preferred: 4096, maximum: 8192 }) },
  ])("a block size that $what is ERR_UNKNOWN, and the layers are closed", async ({ blockSize }) => {
    const events: string[] = [];
    await using it = await running({
      plugin: { blockSize, close: () => void events.push("close") },
    });
    const client = await it.connect();
    await client.hello();
    for (const option of [INFO, GO]) {
      const replies = await client.option(option, infoPayload("", [BLOCK_SIZE]));
      expect(types(replies)).toEqual([ERR_UNKNOWN]);
    }
    expect(events).toEqual(["close", "close"]);
    expect(await client.go()).toHaveProperty("size");
    expect(logged.lines).toHaveLength(2);
  });

  test("the server's own limit holds whatever block size the plugin advises", async () => {
    const size = 65 << 20;
    const plugin = { blockSize: () => ({ minimum: 1, preferred: 512, maximum: 65536 }) };
    await using it = await running({ plugin, size });
    const { client } = await it.ready();
    expect((await client.ask({ type: 0, count: 64 << 20 })).error).toBe(0);
    client.send(request({ type: 0, count: (64 << 20) + 1 }));
    expect((await client.reply()).error).toBe(12);
  });
});

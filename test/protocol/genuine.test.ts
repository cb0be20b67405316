/** Genuine nbdkit and ours get the same bytes, and must reply alike where both negotiate the same. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import {
  bytes,
  type Export,
  infoPayload,
  NbdClient,
  option,
  request,
  wordless,
} from "#test/client";
import { installed, serve, type Served } from "#test/server";

const missing = ["nbdkit"].filter((name) => !installed(name));
const name = missing.length > 0 ? `needs ${missing.join(", ")}` : "nbdkit and ours";
const serverArguments = ["-v", "memory", "65536"];

describe.skipIf(missing.length > 0)(name, () => {
  let both: Served[] = [];
  let readers: Served[] = [];
  beforeAll(async () => {
    const start = (args: readonly string[]) =>
      Promise.all([serve(args, { program: ["nbdkit"] }), serve(args)]);
    both = await start(serverArguments);
    readers = await start(["-r", ...serverArguments]);
  });
  afterAll(async () => {
    for (const server of [...both, ...readers]) await server.stop();
  });

  /** The replies of each server, as `ask` returns them. */
  async function answers<T>(
    servers: readonly Served[],
    ask: (client: NbdClient, facts: Export | undefined) => Promise<T>,
    go = true,
  ): Promise<T[]> {
    const results: T[] = [];
    for (const { socket } of servers) {
      const target = { unix: socket };
      const ready = go ? await NbdClient.ready(target) : undefined;
      await using client = ready?.client ?? (await NbdClient.connect(target));
      results.push(await ask(client, ready?.export));
    }
    return results;
  }

  async function same<T>(
    servers: readonly Served[],
    ask: (client: NbdClient) => Promise<T>,
    go = true,
  ): Promise<void> {
    const [genuine, ours] = await answers(servers, ask, go);
    expect(ours).toEqual(genuine);
  }

  test("every command with every flag, offset and count", async () => {
    const requests: { type: number; flags: number; offset: bigint; count: number }[] = [];
    for (const type of [0, 1, 3, 4, 5, 6, 7, 8, 100]) {
      for (const flags of [0, 1, 2, 4, 8, 16, 3, 17, 32, 0x8001]) {
        for (const [offset, count] of [
          [0n, 0],
          [0n, 1],
          [65535n, 1],
          [65535n, 2],
          [65536n, 1],
          [(1n << 64n) - 1n, 1],
          [0n, (64 << 20) + 1],
        ] as const) {
          requests.push({ type, flags, offset, count });
        }
      }
    }
    const ask = async (client: NbdClient) => {
      const errors: string[] = [];
      for (const { type, flags, offset, count } of requests) {
        // Refused writes carry their data as well; one of 64 MiB is enough.
        if (type === 1 && count > 65536 && flags !== 0) continue;
        const payload = type === 1 ? { payload: new Uint8Array(count) } : {};
        const { error } = await client.ask({ type, flags, offset, count, ...payload });
        errors.push(`type=${type} flags=${flags} offset=${offset} count=${count}: ${error}`);
      }
      return errors;
    };
    await same(both, ask);
    await same(readers, ask);
  });

  test("sizes and flags of the export", async () => {
    for (const servers of [both, readers]) {
      const facts = await answers(servers, async (_client, found) => found);
      expect(facts[1]).toEqual(facts[0] as Export);
    }
  });

  test("options of the handshake that both support", async () => {
    const sequence: readonly (readonly [number, Uint8Array])[] = [
      [3, new Uint8Array(3)],
      [3, new Uint8Array(0)],
      [6, infoPayload("")],
      [6, infoPayload("name", [1])],
      [6, infoPayload("", [0])],
      [6, new Uint8Array(0)],
      [6, bytes(9, "abc", [2, 0])],
      [7, bytes(0, [2, 1])],
      [6, infoPayload("a\0b")],
      [6, infoPayload("x".repeat(4097))],
      [99, new Uint8Array(1000)],
      [2, new Uint8Array(0)],
    ];
    await same(
      both,
      async (client) => {
        const flags = await client.hello();
        const replies = [];
        for (const [number, data] of sequence) {
          replies.push((await client.option(number, data)).map(wordless));
        }
        await client.closed;
        return { flags, replies };
      },
      false,
    );
  });

  test("errors that end a connection, and the replies before that", async () => {
    const endings: readonly Uint8Array[] = [
      bytes(4),
      bytes(3, 1, 2, 3, 4),
      bytes(3, option(1, new Uint8Array(4097).fill(97))),
      bytes(3, option(1, bytes("a\0b"))),
      bytes(3, option(7, infoPayload("")), request({ type: 0, magic: 1 })),
      bytes(3, option(7, infoPayload("")), request({ type: 3 }), request({ type: 2 })),
      bytes(3, option(7, infoPayload("")), request({ type: 1, count: (128 << 20) + 1 })),
      bytes(0, option(1), request({ type: 2 })),
      bytes(2, option(1), request({ type: 2 })),
      bytes(3, ...Array.from({ length: 32 }, () => option(77))),
    ];
    for (const ending of endings) {
      await same(
        both,
        async (client) => {
          client.send(ending);
          await client.closed;
          return withoutWords(await client.take(client.available));
        },
        false,
      );
    }
  });
});

/** A server's side of a handshake, without the text of errors, which nbdkit sends since 1.42. */
function withoutWords(said: Uint8Array): Uint8Array {
  const greetingBytes = 18;
  const parts = [said.subarray(0, greetingBytes)];
  const view = new DataView(said.buffer, said.byteOffset, said.length);
  let at = greetingBytes;
  while (at < said.length && view.getBigUint64(at) === 0x3e889045565a9n) {
    const end = at + 20 + view.getUint32(at + 16);
    const isError = view.getUint32(at + 12) >= 0x80000000;
    parts.push(isError ? bytes(said.subarray(at, at + 16), 0) : said.subarray(at, end));
    at = end;
  }
  return bytes(...parts, said.subarray(at));
}

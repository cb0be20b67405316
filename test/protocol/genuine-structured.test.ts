/**
 * Structured replies and metadata contexts: genuine nbdkit and ours get the same bytes, and these tests list where the
 * replies differ.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import {
  bytes,
  chunkError,
  infoPayload,
  metaPayload,
  NbdClient,
  type RequestFields,
  wordless,
} from "#test/client";
import { installed, serve, type Served } from "#test/server";

const missing = ["nbdkit"].filter((name) => !installed(name));
const name = missing.length > 0 ? `needs ${missing.join(", ")}` : "nbdkit and ours";
const base = "base:allocation";
const empty = new Uint8Array(0);
const set = [10, metaPayload("", [base])] as const;

type Steps = readonly (readonly [option: number, data: Uint8Array])[];

/** Deliberate differences. */
const differences: readonly {
  readonly what: string;
  readonly steps: Steps;
  readonly genuine: readonly (readonly number[])[];
  readonly ours: readonly (readonly number[])[];
  readonly why: string;
}[] = [
  {
    what: "structured replies agreed on twice",
    steps: [
      [8, empty],
      [8, empty],
    ],
    genuine: [[1], [1]],
    ours: [[1], [0x80000003]],
    why: "nbdkit refuses it since 1.33.2",
  },
  {
    what: "a list that is asked for twice",
    steps: [
      [3, empty],
      [3, empty],
    ],
    genuine: [[2, 1], [0x80000003]],
    ours: [
      [2, 1],
      [2, 1],
    ],
    why: "nbdkit answers it since 1.45",
  },
  {
    what: "block sizes of the memory plugin",
    steps: [[6, infoPayload("", [3])]],
    genuine: [[3, 1]],
    ours: [[3, 3, 1]],
    why: "nbdkit's plugin tells them since 1.38",
  },
  {
    what: "a context that is asked for twice",
    steps: [
      [8, empty],
      [10, metaPayload("", [base, base])],
      [9, metaPayload("", ["base:", base])],
    ],
    genuine: [[1], [4, 4, 1], [4, 4, 1]],
    ours: [[1], [4, 1], [4, 1]],
    why: "the protocol wants each context once",
  },
  {
    what: "bytes after the last query",
    steps: [
      [9, bytes(0, 0, 1)],
      [9, bytes(0, 1, 3, "abc", 7)],
    ],
    genuine: [[4, 1], [1]],
    ours: [[0x80000003], [0x80000003]],
    why: "such a payload is malformed",
  },
  {
    what: "a good query before a malformed one",
    steps: [
      [8, empty],
      [10, bytes(0, 2, base.length, base, 99)],
    ],
    genuine: [[1], [4, 0x80000003]],
    ours: [[1], [0x80000003]],
    why: "a failure reports no context",
  },
];

/** Options after which nbdkit and ours differ in whether block status works. */
const choices: readonly {
  readonly what: string;
  readonly steps: Steps;
  readonly genuine: boolean;
  readonly ours: boolean;
  readonly why?: string;
}[] = [
  { what: "no SET", steps: [], genuine: false, ours: false },
  { what: "SET", steps: [set], genuine: true, ours: true },
  {
    what: "SET for another export",
    steps: [[10, metaPayload("x", [base])]],
    genuine: false,
    ours: false,
  },
  {
    what: "SET that takes it back",
    steps: [set, [10, metaPayload("", [])]],
    genuine: false,
    ours: false,
  },
  {
    what: "SET of a family",
    steps: [[10, metaPayload("", ["base:"])]],
    genuine: false,
    ours: false,
  },
  {
    what: "SET that fails later",
    steps: [set, [10, bytes(9)]],
    genuine: true,
    ours: false,
    why: "the protocol wants a failing SET to take back what was chosen before",
  },
  {
    what: "INFO of another export in between",
    steps: [set, [6, infoPayload("x")]],
    genuine: false,
    ours: true,
    why: "only the export that is taken in the end counts",
  },
];

describe.skipIf(missing.length > 0)(name, () => {
  let both: Served[] = [];
  beforeAll(async () => {
    const args = ["memory", "65536"];
    both = await Promise.all([serve(args, { program: ["nbdkit"] }), serve(args)]);
  });
  afterAll(async () => {
    for (const server of both) await server.stop();
  });

  /** The replies of both: [genuine, ours]. */
  async function answers<T>(ask: (client: NbdClient) => Promise<T>): Promise<T[]> {
    const results: T[] = [];
    for (const { socket } of both) {
      await using client = await NbdClient.connect({ unix: socket });
      await client.hello();
      results.push(await ask(client));
    }
    return results;
  }

  test("options and their replies, byte by byte", async () => {
    const steps: Steps = [
      [9, metaPayload("")],
      [10, metaPayload("", [base])],
      [8, new Uint8Array(3)],
      [8, empty],
      [9, metaPayload("")],
      [9, metaPayload("any", ["base:"])],
      [9, metaPayload("", [base])],
      [9, metaPayload("", ["foo:", "base", "", "base:x"])],
      [10, metaPayload("")],
      [10, metaPayload("", ["base:"])],
      [10, metaPayload("", [base])],
      [9, empty],
      [9, bytes(0)],
      [9, bytes(5, "ab", 0)],
      [9, bytes(0, 1, 5, "ab")],
      [10, metaPayload("a\0b", [base])],
      [9, metaPayload("", [`${base}\0`])],
      [9, metaPayload("x".repeat(4096))],
      [9, metaPayload("x".repeat(4097))],
      [9, metaPayload("", ["x".repeat(4096)])],
      [9, metaPayload("", ["x".repeat(4097)])],
      [6, infoPayload("", [1, 2, 0])],
      [3, empty],
      [7, infoPayload("")],
    ];
    const [genuine, ours] = await answers(async (client) => {
      const replies = [];
      for (const [option, data] of steps) {
        replies.push((await client.option(option, data)).map(wordless));
      }
      return replies;
    });
    expect(ours).toEqual(genuine ?? []);
  });

  test.each([...differences])("$what: $why", async ({ steps, genuine, ours }) => {
    const types = await answers(async (client) => {
      const replies = [];
      for (const [option, data] of steps) replies.push(await client.option(option, data));
      return replies.map((list) => list.map(({ type }) => type));
    });
    expect(types).toEqual([genuine, ours].map((list) => list.map((each) => [...each])));
  });

  test.each([...choices])("block status after $what", async ({ steps, genuine, ours, why }) => {
    expect(genuine === ours).toBe(why === undefined);
    const found = await answers(async (client) => {
      await client.option(8);
      for (const [option, data] of steps) await client.option(option, data);
      await client.go("");
      return (await client.askChunk({ type: 7, count: 512 })).type === 5;
    });
    expect(found).toEqual([genuine, ours]);
  });

  /**
   * The outcome of a request. nbdkit sends errors as simple replies, except for READ and BLOCK_STATUS, and none of them
   * with text.
   */
  async function outcome(client: NbdClient, fields: RequestFields): Promise<string> {
    client.request(fields);
    if (!(await client.structuredIsNext())) return `${(await client.reply()).error}`;
    const chunk = await client.chunk();
    if (chunk.flags !== 1) return "not the last chunk";
    return chunk.type >= 0x8000 ? `${chunkError(chunk).error}` : `chunk ${chunk.type}`;
  }

  test("every command with every flag, offset and count", async () => {
    const requests: RequestFields[] = [];
    for (const type of [0, 1, 3, 4, 5, 6, 7, 8, 100]) {
      for (const flags of [0, 1, 2, 4, 8, 16, 3, 12, 17, 32, 0x8001]) {
        for (const [offset, count] of [
          [0n, 0],
          [0n, 1],
          [65535n, 1],
          [65535n, 2],
          [65536n, 1],
          [(1n << 64n) - 1n, 1],
        ] as const) {
          const payload = type === 1 ? { payload: new Uint8Array(count) } : {};
          requests.push({ type, flags, offset, count, ...payload });
        }
      }
    }
    const [genuine, ours] = await answers(async (client) => {
      await client.option(8);
      await client.option(...set);
      await client.go("");
      const found: string[] = [];
      for (const fields of requests) {
        const { type, flags, offset, count } = fields;
        const came = await outcome(client, fields);
        found.push(`type=${type} flags=${flags} offset=${offset} count=${count}: ${came}`);
      }
      return found;
    });
    expect(ours).toEqual(genuine ?? []);
  });
});

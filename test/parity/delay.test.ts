/** Compares the delay filter with nbdkit's own. */
import { describe } from "bun:test";

import { NbdClient, type RequestFields } from "#test/client";

import { bothAccept, bothRefuse, connected, parity, type Side, wire } from "./both.ts";

const memory = ["--filter=delay", "memory", "size=1M"];
const delayMs = 300;

/** One request of each kind, in an order that replies cannot have by chance if some are delayed. */
const requests = {
  read: { type: wire.read, count: 512 },
  write: { type: wire.write, offset: 4096n, payload: new Uint8Array(512) },
  zero: { type: wire.zero, offset: 8192n, count: 512 },
  trim: { type: wire.trim, offset: 16384n, count: 512 },
  cache: { type: wire.cache, offset: 32768n, count: 512 },
  flush: { type: wire.flush },
} as const satisfies Record<string, RequestFields>;
const names = Object.keys(requests);

/** The kinds whose replies come last, `count` of them, when one of each kind is sent at once. */
async function lastReplies(side: Side, count: number): Promise<readonly string[]> {
  const { client } = await connected(side);
  await using _ = client;
  for (const [i, fields] of Object.values(requests).entries()) {
    client.request({ ...fields, cookie: BigInt(i) });
  }
  const order: string[] = [];
  while (order.length < names.length) {
    const { error, cookie } = await client.reply();
    const name = names[Number(cookie)] ?? "unknown";
    order.push(error === 0 ? name : `${name} failed with ${error}`);
    if (name === "read") await client.take(512);
  }
  return order.slice(order.length - count).toSorted();
}

/** Whether something takes at least as long as the delay. */
async function isDelayed(go: () => Promise<unknown>): Promise<boolean> {
  const start = performance.now();
  await go();
  // The server's timer may end a little earlier than this clock shows.
  return performance.now() - start >= delayMs - 5;
}

describe("delay filter and nbdkit's", () => {
  for (const [texts, delayed] of [
    [[`rdelay=${delayMs}ms`], ["read"]],
    [[`delay-read=${delayMs}ms`], ["read"]],
    [[`wdelay=${delayMs}ms`], ["trim", "write", "zero"]],
    [[`delay-write=${delayMs}ms`], ["write"]],
    [[`delay-zero=${delayMs}ms`], ["zero"]],
    [[`delay-trim=${delayMs}ms`], ["trim"]],
    [[`delay-cache=${delayMs}ms`], ["cache"]],
    [
      [`wdelay=${delayMs}ms`, "delay-write=0"],
      ["trim", "zero"],
    ],
    [
      ["delay-write=0", `wdelay=${delayMs}ms`],
      ["trim", "write", "zero"],
    ],
  ] as const) {
    parity(`delay ${delayed.join(", ")} with ${texts.join(" ")}`, {
      args: () => [...memory, ...texts],
      see: (side) => lastReplies(side, delayed.length),
      expected: [...delayed],
    });
  }

  parity("delay requests in parallel", {
    args: () => [...memory, `rdelay=${delayMs}ms`],
    see: async (side) => {
      const { client } = await connected(side);
      await using _ = client;
      const start = performance.now();
      for (let i = 0; i < 10; i++) client.request({ type: wire.read, count: 1 });
      for (let i = 0; i < 10; i++) {
        await client.reply();
        await client.take(1);
      }
      const took = performance.now() - start;
      return took >= delayMs - 5 && took < 10 * delayMs;
    },
    expected: true,
  });

  parity("delay clients that connect", {
    args: () => [...memory, `delay-open=${delayMs}ms`],
    see: async (side) => {
      await using client = await NbdClient.connect({ unix: side.server.socket });
      await client.hello();
      return await isDelayed(() => client.go());
    },
    expected: true,
  });

  parity("delay clients that disconnect", {
    args: () => [...memory, `delay-close=${delayMs}ms`],
    see: async (side) => {
      const { client } = await connected(side);
      await using _ = client;
      return await isDelayed(() => {
        client.request({ type: wire.disconnect });
        return client.closed;
      });
    },
    expected: true,
  });

  for (const [texts, error] of [
    [["delay-fast-zero=no"], 0],
    [["delay-fast-zero=no", "delay-zero=1ms"], 95],
    [["delay-fast-zero=no", "wdelay=1ms"], 95],
    [["delay-fast-zero=no", "delay-write=1ms"], 0],
    [["delay-fast-zero=yes", "delay-zero=1ms"], 0],
  ] as const) {
    parity(`answer fast zero requests with ${error} with ${texts.join(" ")}`, {
      args: () => [...memory, ...texts],
      see: async (side) => {
        const { client } = await connected(side);
        await using _ = client;
        const zero = { type: wire.zero, count: 512 };
        return [
          (await client.ask({ ...zero, flags: wire.fastZero })).error,
          (await client.ask(zero)).error,
        ];
      },
      expected: [error, 0],
    });
  }

  for (const text of ["rdelay=-1", "wdelay=", "delay-zero=abc", "delay-trim=ms", "delay-open=1m"]) {
    bothRefuse([...memory, text]);
  }
  for (const text of ["delay-fast-zero=maybe", "delay-flush=1", "delay-close=1x"]) {
    bothRefuse([...memory, text]);
  }
  for (const text of ["delay-extents=1", "rdelay=2147483", "wdelay=2147483647ms"]) {
    bothAccept([...memory, text]);
  }
});

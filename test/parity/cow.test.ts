/** Compares the cow filter with nbdkit's own. */
import { describe } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { run } from "#test/server";

import { bothAccept, bothRefuse, connected, parity, type Side, wire } from "./both.ts";

/** The last block is shorter. */
const length = 300 * 1024 + 700;
const image = () => Uint8Array.from({ length }, (_, at) => 1 + ((at * 7 + (at >> 8)) % 250));
/** SEND_WRITE_ZEROES and SEND_FAST_ZERO: nbdkit's filter does not offer them (manual, "Differences from nbdkit"). */
const zeroFlags = 64 | 2048;

/** The arguments that serve the image through the filter. */
const over = (options: readonly string[], ...texts: readonly string[]) => ({
  before: (folder: string) => writeFileSync(join(folder, "disk"), image()),
  args: (folder: string) => [
    ...options,
    "--filter=cow",
    "file",
    `file=${join(folder, "disk")}`,
    ...texts,
  ],
});
const below = (side: Side) => new Uint8Array(readFileSync(join(side.folder, "disk")));
const read = async (client: NbdClient) =>
  (await client.ask({ type: wire.read, offset: 0n, count: length })).data;

describe("cow filter and nbdkit's", () => {
  // HAS_FLAGS 1, READ_ONLY 2, FLUSH 4, FUA 8, TRIM 32, CAN_MULTI_CONN 256, CACHE 1024.
  for (const [options, eflags] of [
    [[], 1 | 4 | 8 | 32 | 256 | 1024],
    [["-r"], 1 | 2 | 4 | 256 | 1024],
  ] as const) {
    parity(`give clients the same size and flags (${options.join(" ")})`, {
      ...over(options),
      see: async (side) => {
        const { client, export: found } = await NbdClient.ready({ unix: side.server.socket });
        await using _ = client;
        return [found.size, found.eflags & ~zeroFlags];
      },
      expected: [BigInt(length), eflags],
    });
  }

  for (const texts of [
    [],
    ["cow-block-size=4096"],
    ["cow-block-size=1M"],
    ["cow-on-read=true", "cow-on-cache=true"],
    ["cow-on-read=/"],
  ]) {
    const changed = image();
    changed.fill(0xee, 65000, 66000);
    changed.fill(0, 70000, 140000);
    changed.fill(0xdd, 100000, 100010);
    changed.fill(0xcc, length - 10);
    parity(`serve written data, and do not change the disk (${texts.join(" ")})`, {
      ...over([], ...texts),
      see: async (side) => {
        const { client } = await connected(side);
        await using _ = client;
        const write = (byte: number, offset: number, count: number) =>
          client.ask({
            type: wire.write,
            offset: BigInt(offset),
            payload: new Uint8Array(count).fill(byte),
          });
        const errors = [
          await client.ask({ type: wire.cache, offset: 0n, count: 200000 }),
          await write(0xee, 65000, 1000),
          await client.ask({ type: wire.trim, offset: 70000n, count: 70000 }),
          await write(0xdd, 100000, 10),
          await write(0xcc, length - 10, 10),
          await client.ask({ type: wire.flush }),
        ].map(({ error }) => error);
        return [errors, await read(client), below(side)];
      },
      expected: [[0, 0, 0, 0, 0, 0], changed, image()],
    });
  }

  const shared = image();
  shared.fill(7, 10, 20);
  parity("share changes between clients, including later ones", {
    ...over([]),
    see: async (side) => {
      const { client: first } = await connected(side);
      const { client: second } = await connected(side);
      const payload = new Uint8Array(10).fill(7);
      await first.ask({ type: wire.write, offset: 10n, payload });
      const seen = await read(second);
      await first[Symbol.asyncDispose]();
      await second[Symbol.asyncDispose]();
      const { client: third } = await connected(side);
      await using _ = third;
      return [seen, await read(third)];
    },
    expected: [shared, shared],
  });

  parity("refuse requests beyond the end with the same errors", {
    ...over([]),
    see: async (side) => {
      const { client } = await connected(side);
      await using _ = client;
      const at = { offset: BigInt(length - 1) };
      return [
        await client.ask({ type: wire.read, ...at, count: 2 }),
        await client.ask({ type: wire.write, ...at, payload: new Uint8Array(2) }),
        await client.ask({ type: wire.trim, ...at, count: 2 }),
        await client.ask({ type: wire.cache, ...at, count: 2 }),
        await client.ask({ type: wire.read, ...at, count: 1 }),
      ].map(({ error }) => error);
    },
    expected: [22, 28, 22, 22, 0],
  });

  parity("make a read-only plugin writable", {
    args: () => ["--filter=cow", "pattern", "1M"],
    see: async (side) => {
      const { client } = await connected(side);
      await using _ = client;
      const payload = Uint8Array.of(1, 2, 3, 4);
      const { error } = await client.ask({ type: wire.write, offset: 8n, payload });
      const { data } = await client.ask({ type: wire.read, offset: 0n, count: 24 });
      return [error, data];
    },
    expected: [
      0,
      Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 16),
    ],
  });

  parity("return a whole disk that nbdcopy has written", {
    ...over([], "cow-block-size=8k"),
    needs: ["nbdcopy"],
    see: async ({ server, folder }) => {
      const [source, target] = [join(folder, "new"), join(folder, "back")];
      writeFileSync(source, image().toReversed());
      const copies = [
        await run(["nbdcopy", source, server.uri]),
        await run(["nbdcopy", server.uri, target]),
      ].map(({ code, stderr }) => ({ code, stderr }));
      return [copies, new Uint8Array(readFileSync(target)), readdirSync(folder).toSorted()];
    },
    expected: [
      [
        { code: 0, stderr: "" },
        { code: 0, stderr: "" },
      ],
      image().toReversed(),
      ["back", "disk", "new"],
    ],
  });

  const memory = ["--filter=cow", "memory", "size=1M"];
  for (const text of [
    "cow-block-size=2048",
    "cow-block-size=12288",
    "cow-block-size=4G",
    "cow-block-size=",
    "cow-on-cache=foo",
    "cow-on-cache=/tmp",
    "cow-on-read=foo",
    "cow-on-read=",
  ]) {
    bothRefuse([...memory, text]);
  }
  for (const text of [
    "cow-block-size=4k",
    "cow-block-size=2G",
    "cow-on-cache=1",
    "cow-on-read=/x",
  ]) {
    bothAccept([...memory, text]);
  }
});

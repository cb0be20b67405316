/** Compares the offset filter with nbdkit's own. */
import { describe } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { run } from "#test/server";

import { bothAccept, bothRefuse, connected, parity, refusal, type Side, wire } from "./both.ts";

const length = 64 * 1024;
const image = () => Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) % 251);

/** The arguments that serve the image through the filter. */
const over = (...texts: readonly string[]) => ({
  before: (folder: string) => writeFileSync(join(folder, "disk"), image()),
  args: (folder: string) => ["--filter=offset", "file", `file=${join(folder, "disk")}`, ...texts],
});
const whole = (side: Side) => new Uint8Array(readFileSync(join(side.folder, "disk")));

/** NBD_REP_ERR_UNKNOWN. */
const unknownExport = 0x8000_0006;

describe("offset filter and nbdkit's", () => {
  for (const [texts, size] of [
    [[], length],
    [["offset=1k"], length - 1024],
    [["offset=4096", "range=8s"], 4096],
    [["range=512"], 512],
    [[`offset=${length - 1}`], 1],
    [[`offset=${length}`], 0],
    [["offset=1k", "offset=2k"], length - 2048],
  ] as const) {
    parity(`serve ${size} bytes with "${texts.join(" ")}"`, {
      ...over(...texts),
      needs: ["nbdinfo"],
      see: async ({ server }) => (await run(["nbdinfo", "--size", server.uri])).stdout.trim(),
      expected: `${size}`,
    });
  }

  for (const texts of [
    [`offset=${length + 1}`],
    [`range=${length + 1}`],
    ["offset=1", `range=${length}`],
    ["offset=7E", "range=7E"],
  ]) {
    parity(`refuse clients with "${texts.join(" ")}", and go on`, {
      ...over(...texts),
      see: async (side) => [
        await refusal(side),
        await refusal(side),
        /error: .*larger than the real size/.test(side.server.stderr()),
      ],
      expected: [unknownExport, unknownExport, true],
    });
  }

  parity("read the same bytes", {
    ...over("offset=1000", "range=3000"),
    see: async (side) => {
      const { client } = await connected(side);
      await using _ = client;
      const { error, data } = await client.ask({ type: wire.read, offset: 0n, count: 3000 });
      return [error, data];
    },
    expected: [0, image().subarray(1000, 4000)],
  });

  const changed = image();
  changed.fill(0xee, 1000, 2000);
  changed.fill(0, 3900, 4000);
  parity("write and zero the same bytes, and no others", {
    ...over("offset=1000", "range=3000"),
    see: async (side) => {
      const { client } = await connected(side);
      await using _ = client;
      const payload = new Uint8Array(1000).fill(0xee);
      const errors = [
        await client.ask({ type: wire.write, offset: 0n, payload }),
        await client.ask({ type: wire.zero, offset: 2900n, count: 100 }),
        await client.ask({ type: wire.flush }),
      ].map(({ error }) => error);
      return [errors, whole(side)];
    },
    expected: [[0, 0, 0], changed],
  });

  parity("refuse requests beyond the range, and do not change the disk", {
    ...over("offset=1000", "range=3000"),
    see: async (side) => {
      const { client } = await connected(side);
      await using _ = client;
      const errors = [
        await client.ask({ type: wire.read, offset: 2999n, count: 2 }),
        await client.ask({ type: wire.read, offset: 3000n, count: 1 }),
        await client.ask({ type: wire.write, offset: 2999n, payload: new Uint8Array(2) }),
        await client.ask({ type: wire.zero, offset: 2999n, count: 2 }),
        await client.ask({ type: wire.trim, offset: 2999n, count: 2 }),
        await client.ask({ type: wire.read, offset: 2999n, count: 1 }),
      ].map(({ error }) => error);
      return [errors, whole(side)];
    },
    expected: [[22, 22, 28, 28, 22, 0], image()],
  });

  const memory = ["--filter=offset", "memory", "size=1M"];
  for (const text of ["offset=-1", "offset=abc", "range=", "offset=9E", "range=1kb", "ofset=1"]) {
    bothRefuse([...memory, text]);
  }
  for (const text of ["offset=1S", "range=7E", "offset=2M"]) bothAccept([...memory, text]);
});

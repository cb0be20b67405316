/** Compares filters that are stacked twice with nbdkit's own. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { serve } from "#test/server";

import { patterned, putMbr } from "../../filters/partition/disk-fixture.ts";
import { connected, parity, type Side, wire } from "./both.ts";

const size = 512 * 1024;

/** A partition with a table of its own, whose first partition has as many sectors as the outer one. */
function nested(): Uint8Array {
  const disk = putMbr(patterned(size), [{ type: 0x83, start: 16, count: 600 }]);
  return putMbr(disk, [{ type: 0x83, start: 8, count: 40 }], 16);
}

const over = (filters: readonly string[], disk: Uint8Array, ...texts: readonly string[]) => ({
  before: (folder: string) => writeFileSync(join(folder, "disk"), disk),
  args: (folder: string) => [
    ...filters.map((name) => `--filter=${name}`),
    "file",
    `file=${join(folder, "disk")}`,
    ...texts,
  ],
});

async function contents(side: Side): Promise<unknown> {
  const { client, size: bytes } = await connected(side);
  await using _ = client;
  return (await client.ask({ type: wire.read, offset: 0n, count: Number(bytes) })).data;
}

describe("nbdkit and this server", () => {
  parity("add two offsets", {
    ...over(["offset", "offset"], patterned(size), "offset=64k"),
    see: contents,
    expected: patterned(size).subarray(128 * 1024),
  });

  parity("serve a range within a range", {
    ...over(["offset", "offset"], patterned(size), "offset=0", "range=1000"),
    see: contents,
    expected: patterned(size).subarray(0, 1000),
  });

  parity("serve a partition of a table within a partition", {
    ...over(["partition", "partition"], nested(), "partition=1"),
    see: contents,
    expected: nested().subarray(24 * 512, 64 * 512),
  });

  parity("inject errors in the outer one of two filters", {
    ...over(["error", "error"], patterned(size), "error=ENOSPC", "error-rate=100%"),
    see: async (side) => {
      const { client } = await connected(side);
      await using _ = client;
      const { error } = await client.ask({ type: wire.read, offset: 0n, count: 512 });
      await side.server.printed(/injecting ENOSPC error into pread\n/);
      return [error, side.server.stderr().match(/injecting/g)?.length];
    },
    expected: [28, 1],
  });

  parity("wait for the sum of two delays", {
    ...over(["delay", "delay"], patterned(size), "rdelay=100ms"),
    see: async (side) => {
      const { client } = await connected(side);
      await using _ = client;
      const start = performance.now();
      await client.ask({ type: wire.read, offset: 0n, count: 512 });
      // The server's timer may end a little earlier than this clock shows.
      return performance.now() - start >= 195;
    },
    expected: true,
  });
});

// nbdkit's filter cannot be compared, since it frees its only table of blocks twice at the end.
test("the cow filter works twice in one chain, and the server exits with 0", async () => {
  const disk = join(import.meta.dir, "..", "..", "LICENSE");
  const before = readFileSync(disk);
  await using server = await serve([
    "--filter=cow",
    "--filter=cow",
    "file",
    `file=${disk}`,
    "cow-block-size=4k",
    "cow-on-read=true",
  ]);
  const { client } = await NbdClient.ready({ unix: server.socket });
  const write = { type: wire.write, offset: 5n, payload: new Uint8Array(3).fill(1) };
  expect((await client.ask(write)).error).toBe(0);
  const { data } = await client.ask({ type: wire.read, offset: 0n, count: before.length });
  const changed = new Uint8Array(before).fill(1, 5, 8);
  expect(Buffer.compare(data, changed)).toBe(0);
  await client[Symbol.asyncDispose]();
  expect(await server.stop()).toEqual({ code: 0, stderr: "" });
  expect(Buffer.compare(readFileSync(disk), before)).toBe(0);
});

test("a filter is the same by its name, its path and a link to it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "twice-"));
  try {
    const path = join(import.meta.dir, "..", "..", "filters", "offset", "offset.ts");
    const link = join(folder, "link.ts");
    symlinkSync(path, link);
    const filters = ["offset", path, link].map((name) => `--filter=${name}`);
    await using server = await serve([...filters, "memory", "size=10k", "offset=1k"]);
    const { client, export: served } = await NbdClient.ready({ unix: server.socket });
    await using _ = client;
    expect(served.size).toBe(7168n);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

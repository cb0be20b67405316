/** Compares the partition filter with nbdkit's own. */
import { describe, test } from "bun:test";
import { closeSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";

import { installed, run } from "#test/server";

import { patterned, putGpt, putMbr } from "../../filters/partition/disk-fixture.ts";
import { bothAccept, bothRefuse, connected, parity, refusal, type Side, wire } from "./both.ts";

const size = 512 * 1024;
/** NBD_REP_ERR_UNKNOWN. */
const unknownExport = 0x8000_0006;

/** Primaries 1 and 2, and logical partitions 5 and 6 in partition 3. */
function mbr(): Uint8Array {
  const disk = putMbr(patterned(size), [
    { type: 0x83, start: 8, count: 16 },
    { type: 0x0c, start: 24, count: 8 },
    { type: 0x05, start: 100, count: 400 },
  ]);
  const second = { type: 0x05, start: 200, count: 100 };
  putMbr(disk, [{ type: 0x83, start: 10, count: 20 }, second], 100);
  return putMbr(disk, [{ type: 0x82, start: 1, count: 50 }], 300);
}

const gpt = () =>
  putGpt(patterned(size), [
    { number: 1, first: 40n, last: 47n },
    { number: 2, first: 100n, last: 199n },
    { number: 128, first: 50n, last: 50n },
  ]);

/** The arguments that serve the image through the filter. */
const over = (disk: Uint8Array, number: number) => ({
  before: (folder: string) => writeFileSync(join(folder, "disk"), disk),
  args: (folder: string) => [
    "--filter=partition",
    "file",
    `file=${join(folder, "disk")}`,
    `partition=${number}`,
  ],
});
const whole = (side: Side) => new Uint8Array(readFileSync(join(side.folder, "disk")));

/** The size that a client gets, and the content of the partition. */
async function contents(side: Side): Promise<unknown> {
  const { client, size: bytes } = await connected(side);
  await using _ = client;
  const { error, data } = await client.ask({ type: wire.read, offset: 0n, count: Number(bytes) });
  return { error, data };
}

describe("partition filter and nbdkit's", () => {
  for (const [kind, disk, number, start, sectors] of [
    ["MBR", mbr(), 1, 8, 16],
    ["MBR", mbr(), 2, 24, 8],
    ["MBR", mbr(), 5, 110, 20],
    ["MBR", mbr(), 6, 301, 50],
    ["GPT", gpt(), 1, 40, 8],
    ["GPT", gpt(), 2, 100, 100],
    ["GPT", gpt(), 128, 50, 1],
  ] as const) {
    parity(`serve the bytes of ${kind} partition ${number}`, {
      ...over(disk, number),
      see: contents,
      expected: { error: 0, data: disk.slice(start * 512, (start + sectors) * 512) },
    });
  }

  const beyond = putMbr(patterned(size), [{ type: 0x83, start: 1000, count: 25 }]);
  const gptBeyond = putGpt(patterned(size), [{ number: 1, first: 1000n, last: 1024n }]);
  for (const [what, disk, number] of [
    ["the extended partition", mbr(), 3],
    ["an empty primary entry", mbr(), 4],
    ["a missing logical partition", mbr(), 7],
    ["an unused GPT entry", gpt(), 3],
    ["a GPT number beyond the table", gpt(), 129],
    ["an MBR partition beyond the disk", beyond, 1],
    ["a GPT partition beyond the disk", gptBeyond, 1],
    ["a disk without a table", new Uint8Array(size), 1],
    ["a disk that is too small", mbr().slice(0, 1023), 1],
  ] as const) {
    parity(`refuse ${what}, and go on`, {
      ...over(disk, number),
      see: async (side) => [
        await refusal(side),
        await refusal(side),
        side.server.stderr().includes("error: "),
      ],
      expected: [unknownExport, unknownExport, true],
    });
  }

  const changed = gpt().slice();
  changed.fill(0xee, 102 * 512, 103 * 512);
  changed.fill(0, 199 * 512, 200 * 512);
  parity("write and zero the same bytes, and no others", {
    ...over(gpt(), 2),
    see: async (side) => {
      const { client } = await connected(side);
      await using _ = client;
      const payload = new Uint8Array(512).fill(0xee);
      const errors = [
        await client.ask({ type: wire.write, offset: 1024n, payload }),
        await client.ask({ type: wire.zero, offset: 99n * 512n, count: 512 }),
        await client.ask({ type: wire.flush }),
        await client.ask({ type: wire.write, offset: 51199n, payload: new Uint8Array(2) }),
        await client.ask({ type: wire.zero, offset: 51200n, count: 1 }),
        await client.ask({ type: wire.trim, offset: 51200n, count: 1 }),
        await client.ask({ type: wire.read, offset: 51200n, count: 1 }),
      ].map(({ error }) => error);
      return [errors, whole(side)];
    },
    expected: [[0, 0, 0, 28, 28, 22, 22], changed],
  });

  const memory = ["--filter=partition", "memory", "size=1M"];
  for (const text of ["partition=0", "partition=-1", "partition=x", "partition=", "partition=4G"]) {
    bothRefuse([...memory, text]);
  }
  bothRefuse([...memory, "partition=4294967296"]);
  for (const text of ["partition=1", "partition=0x80", "partition=4294967295"]) {
    bothAccept([...memory, text]);
  }

  if (!installed("sfdisk")) test.skip("serve tables by sfdisk (needs sfdisk)", () => {});
  else {
    const script =
      "label: dos\nstart=2048,size=2048\nstart=4096,size=20480,type=f\n" +
      "start=6144,size=2048\nstart=10240,size=4096\nstart=16384,size=100\n";
    for (const [number, start, bytes] of [
      [1, 2048, 1048576],
      [5, 6144, 1048576],
      [6, 10240, 2097152],
      [7, 16384, 51200],
    ] as const) {
      const served = over(new Uint8Array(0), number);
      parity(`serve partition ${number} of a table by sfdisk`, {
        ...served,
        needs: ["nbdinfo"],
        before: async (folder) => {
          await served.before(folder);
          const file = join(folder, "disk");
          truncateSync(file, 16 * 1024 * 1024);
          await run(["sfdisk", "-q", file], { stdin: script });
          const fd = openSync(file, "r+");
          writeSync(fd, Uint8Array.of(number), 0, 1, start * 512);
          closeSync(fd);
        },
        see: async (side) => {
          const { client } = await connected(side);
          await using _ = client;
          const { data } = await client.ask({ type: wire.read, offset: 0n, count: 1 });
          const info = await run(["nbdinfo", "--size", side.server.uri]);
          return [info.stdout.trim(), data];
        },
        expected: [`${bytes}`, Uint8Array.of(number)],
      });
    }
  }
});

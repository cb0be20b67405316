import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { FLAG_FUA, FLAG_MAY_TRIM } from "#api";
import { above, clientOf, configured, errnoOf, mapOf } from "#test/chain";

import { patterned, putGpt, putMbr } from "./disk-fixture.ts";
import partition from "./partition.ts";

const size = 512 * 1024;
/** Partition 2 is 16 KiB at 20 KiB, 40 sectors in. */
const disk = () =>
  putMbr(patterned(size), [
    { type: 0x83, start: 8, count: 8 },
    { type: 0x83, start: 40, count: 32 },
  ]);
const first = 20480;

describe("the parameter partition", () => {
  test("is required", async () => {
    await expect(configured(partition, {})).rejects.toThrow("the parameter partition= is required");
  });

  test.each(["0", "-1", "4294967296", "", "x", "1x", "1.5"])("refuses %p", async (text) => {
    await expect(configured(partition, { partition: text })).rejects.toThrow(
      `partition=${text}: expected an integer from 1 to 4294967295`,
    );
  });

  test.each(["1", "0x80", "4294967295"])("accepts %p", async (text) => {
    await using chain = new AsyncDisposableStack();
    const made = await configured(partition, { partition: text });
    chain.defer(() => made.unload());
  });

  test("chooses the partition", async () => {
    await using one = await above(disk(), partition, { partition: "1" });
    await using two = await above(disk(), partition, { partition: "2" });
    expect([await one.next.getSize(), await two.next.getSize()]).toEqual([4096n, 16384n]);
  });

  test("fails the connection if there is no such partition", async () => {
    await expect(above(disk(), partition, { partition: "3" })).rejects.toThrow(
      "MBR partition 3 not found; the disk's partitions are: 1-2",
    );
  });
});

describe("the parameter partition-sectorsize", () => {
  test.each(["1024", "511", "0", "", "x", "AUTO"])("refuses %p", async (text) => {
    const texts = { partition: "1", "partition-sectorsize": text };
    await expect(configured(partition, texts)).rejects.toThrow(
      `partition-sectorsize=${text}: expected 512, 4096 or auto`,
    );
  });

  test.each([
    ["512", 512],
    ["4096", 4096],
    ["4k", 4096],
    ["auto", 512],
    ["auto", 4096],
  ])("reads with %s a table with sectors of %d bytes", async (text, sectorSize) => {
    const made = putGpt(patterned(size), [{ number: 1, first: 50n, last: 59n }], {
      sectorSize,
      entryCount: 32,
    });
    const texts = { partition: "1", "partition-sectorsize": text };
    await using stack = await above(made, partition, texts);
    expect(await stack.next.getSize()).toBe(BigInt(10 * sectorSize));
  });

  test("is 512 by default", async () => {
    const made = putGpt(patterned(size), [{ number: 1, first: 50n, last: 59n }], {
      sectorSize: 4096,
      entryCount: 32,
    });
    await expect(above(made, partition, { partition: "1" })).rejects.toThrow("GPT is damaged");
  });

  test.each([
    [512, 4096, "512", "there is a GPT header at byte 512", "512 byte sectors"],
    [4096, 512, "4k", "there is a GPT header at byte 4096", "4K sectors"],
  ] as const)(
    "is suggested as %d in the message if a GPT has that sector size and not %d",
    async (right, wrong, ...words) => {
      const made = putGpt(patterned(size), [{ number: 1, first: 50n, last: 59n }], {
        sectorSize: right,
        entryCount: 32,
      });
      const [value, header, sectors] = words;
      const texts = { partition: "1", "partition-sectorsize": String(wrong) };
      await expect(above(made, partition, texts)).rejects.toThrow(
        `; ${header}: if the underlying storage uses ${sectors} try using partition-sectorsize=${value}`,
      );
      // The hint is missing if it would not help.
      made.fill(0, right, 2 * right);
      const failing = above(made, partition, texts);
      await expect(failing).rejects.toThrow("GPT is damaged");
      await expect(failing).rejects.not.toThrow("there is a GPT header");
    },
  );

  test("defaults to the minimum block size of the disk, to which all reads are aligned", async () => {
    const made = putGpt(patterned(size), [{ number: 1, first: 50n, last: 59n }], {
      sectorSize: 4096,
      entryCount: 32,
    });
    const blockSize = { minimum: 4096, preferred: 4096, maximum: 0xffffffff };
    await using stack = await above(made, partition, { partition: "1" }, { blockSize });
    expect(await stack.next.getSize()).toBe(40960n);
    const reads = stack.calls.map((call) => call.split(" ").slice(1).map(Number));
    expect(reads.length).toBeGreaterThan(2);
    expect(reads.flat().filter((number) => number % 4096 !== 0)).toEqual([]);
  });
});

test("the export description is preceded by the partition and the kind of table", async () => {
  const made = putMbr(patterned(size), [{ type: 0x83, start: 8, count: 8 }]);
  await using stack = await above(made, partition, { partition: "1" }, { description: "a disk" });
  expect(await stack.next.exportDescription()).toBe("partition 1 of MBR disk: a disk");
  await using plain = await above(made, partition, { partition: "1" });
  expect(await plain.next.exportDescription()).toBeUndefined();
});

describe("requests", () => {
  test("are shifted", async () => {
    await using stack = await above(disk(), partition, { partition: "2" });
    const { next, calls } = stack;
    calls.length = 0;
    await next.pwrite(new Uint8Array(512), 1024n, FLAG_FUA);
    await next.trim(1024, 512n, 0);
    await next.zero(512, 15872n, FLAG_MAY_TRIM);
    await next.cache(16384, 0n, 0);
    await next.flush(0);
    const buf = new Uint8Array(512);
    await next.pread(buf, 3072n, 0);
    expect(calls).toEqual([
      `pwrite 512 ${first + 1024} flags=2`,
      `trim 1024 ${first + 512}`,
      `zero 512 ${first + 15872} flags=1`,
      `cache 16384 ${first}`,
      "flush",
      `pread 512 ${first + 3072}`,
    ]);
    expect(buf).toEqual(patterned(size).subarray(first + 3072, first + 3584));
  });

  test("reach the last byte, but not the byte after it", async () => {
    await using stack = await above(disk(), partition, { partition: "2" });
    const buf = new Uint8Array(1);
    await stack.next.pread(buf, 16383n, 0);
    expect(buf[0]).toBe(patterned(size)[first + 16383]);
    expect(await errnoOf(() => stack.next.pread(buf, 16384n, 0))).toBe("EINVAL");
    expect(await errnoOf(() => stack.next.pwrite(buf, 16384n, 0))).toBe("EINVAL");
  });

  test("are answered at once if the layer below answers at once", async () => {
    await using stack = await above(disk(), partition, { partition: "2" });
    const { next } = stack;
    const buf = new Uint8Array(512);
    await next.canWrite();
    expect([next.pread(buf, 0n, 0), next.pwrite(buf, 0n, 0)]).toEqual([undefined, undefined]);
  });

  test("work over a layer that answers later", async () => {
    await using stack = await above(disk(), partition, { partition: "2" }, { later: true });
    const buf = new Uint8Array(16384);
    await stack.next.pread(buf, 0n, 0);
    expect(buf).toEqual(patterned(size).subarray(first, first + 16384));
  });
});

test("each connection reads the table anew", async () => {
  await using stack = await above(disk(), partition, { partition: "2" });
  putMbr(stack.disk, [
    { type: 0, start: 0, count: 0 },
    { type: 0x83, start: 40, count: 7 },
  ]);
  expect(await stack.next.getSize()).toBe(16384n);
  const second = stack.chain.connect(clientOf(stack.chain, 2));
  await second.open(false, "", false);
  expect(await second.top.getSize()).toBe(3584n);
  await second.close();
});

test("a read error during the scan fails the connection with that error", async () => {
  const fail = () => {
    throw Object.assign(new Error("broken"), { code: "ENXIO" });
  };
  const errno = await errnoOf(() => above(disk(), partition, { partition: "1" }, { fail }));
  expect(errno).toBe("ENXIO");
});

const path = `${process.env["PATH"]}:/usr/sbin:/sbin`;
const temp = mkdtempSync(join(tmpdir(), "partition-test-"));
afterAll(() => rmSync(temp, { recursive: true }));

/** An image that the command has partitioned. `%` stands for its path. */
function image(name: string, command: readonly string[], script = ""): Uint8Array {
  const file = join(temp, name);
  writeFileSync(file, "");
  truncateSync(file, 16 * 1024 * 1024);
  const argv = command.map((word) => (word === "%" ? file : word));
  const { exitCode, stderr } = Bun.spawnSync(argv, {
    stdin: Buffer.from(script),
    env: { ...process.env, PATH: path },
  });
  expect({ exitCode, stderr: exitCode === 0 ? "" : stderr.toString() }).toEqual({
    exitCode: 0,
    stderr: "",
  });
  return new Uint8Array(readFileSync(file));
}

async function serves(made: Uint8Array, number: number, start: number, sectors: number) {
  made[start * 512] = number;
  await using stack = await above(made, partition, { partition: `${number}` });
  const buf = new Uint8Array(1);
  await stack.next.pread(buf, 0n, 0);
  expect([await stack.next.getSize(), buf[0]]).toEqual([BigInt(sectors * 512), number]);
}

describe.skipIf(Bun.which("sfdisk", { PATH: path }) === null)(
  "the filter reads tables of sfdisk:",
  () => {
    const sfdisk = ["sfdisk", "-q", "%"];

    test("an MBR with logical partitions", async () => {
      const script =
        "label: dos\nstart=2048,size=2048,type=83\nstart=4096,size=20480,type=5\n" +
        "start=6144,size=2048\nstart=10240,size=4096\nstart=16384,size=100\n";
      const made = image("dos.img", sfdisk, script);
      await serves(made, 1, 2048, 2048);
      await serves(made, 5, 6144, 2048);
      await serves(made, 6, 10240, 4096);
      await serves(made, 7, 16384, 100);
      await expect(above(made, partition, { partition: "2" })).rejects.toThrow("1, 5-7");
    });

    test("a GPT", async () => {
      const script =
        "label: gpt\nstart=2048,size=2048\n5: start=8192,size=4096\n128: start=4096,size=1\n";
      const made = image("gpt.img", sfdisk, script);
      await serves(made, 1, 2048, 2048);
      await serves(made, 5, 8192, 4096);
      await serves(made, 128, 4096, 1);
      made.fill(0, 512, 1024);
      await serves(made, 5, 8192, 4096);
    });
  },
);

describe.skipIf(Bun.which("parted", { PATH: path }) === null)(
  "the filter reads tables of parted:",
  () => {
    const parted = (...words: string[]) => ["parted", "-s", "-a", "none", "%", "--", ...words];
    const make = (...words: string[]) => ["mkpart", ...words];

    test("an MBR with logical partitions", async () => {
      const made = image(
        "msdos.img",
        parted(
          "mklabel",
          "msdos",
          ...make("primary", "2048s", "4095s"),
          ...make("extended", "8192s", "28671s"),
          ...make("logical", "10240s", "12287s"),
          ...make("logical", "20480s", "20579s"),
        ),
      );
      await serves(made, 1, 2048, 2048);
      await serves(made, 5, 10240, 2048);
      await serves(made, 6, 20480, 100);
    });

    test("a GPT", async () => {
      const made = image(
        "parted-gpt.img",
        parted("mklabel", "gpt", ...make("a", "34s", "2047s"), ...make("b", "4096s", "4999s")),
      );
      await serves(made, 1, 34, 2014);
      await serves(made, 2, 4096, 904);
    });
  },
);

test("extents are those of the partition", async () => {
  const bytes = disk().fill(0, first + 512, first + 1536);
  await using stack = await above(bytes, partition, { partition: "2" });
  stack.calls.length = 0;
  expect(await mapOf(stack.next, 0n, 16384)).toEqual([
    "0+512 data",
    "512+1024 hole zero",
    "1536+14848 data",
  ]);
  expect(stack.calls).toEqual([`extents 16384 ${first}`]);
});

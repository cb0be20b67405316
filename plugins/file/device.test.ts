/** The properties of block devices that clients get. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { basename } from "node:path";

import { overPlugin } from "#test/chain";

import { blockSizeOf } from "./device.ts";
import plugin from "./file.ts";
import { haveLoops, imageFolder, loopDevice } from "./images-fixture.ts";

const { image } = imageFolder();

describe("block sizes", () => {
  test.each([
    { what: "a disk", minimum: 512, optimal: 0, least: 512, best: 512 },
    { what: "a disk of 4 KiB sectors", minimum: 4096, optimal: 0, least: 4096, best: 4096 },
    { what: "stripes", minimum: 65536, optimal: 262144, least: 65536, best: 262144 },
    { what: "large chunks", minimum: 524288, optimal: 1048576, least: 65536, best: 1048576 },
    { what: "thin LVM", minimum: 1048576, optimal: 1048576, least: 65536, best: 1048576 },
    { what: "stripes of three disks", minimum: 65536, optimal: 196608, least: 65536, best: 65536 },
    { what: "an odd optimum", minimum: 512, optimal: 33553920, least: 512, best: 512 },
    {
      what: "an optimum above 32 MiB",
      minimum: 4096,
      optimal: 1 << 27,
      least: 4096,
      best: 1 << 25,
    },
    { what: "an optimum of 31 bits", minimum: 4096, optimal: 2 ** 31, least: 4096, best: 1 << 25 },
    { what: "no advice", minimum: 0, optimal: 0, least: 1, best: 512 },
  ])("of $what are $least and $best", ({ minimum, optimal, least, best }) => {
    const maximum = 0xffffffff;
    expect(blockSizeOf({ minimum, optimal })).toEqual({ minimum: least, preferred: best, maximum });
  });

  test("of a regular file are unknown", async () => {
    await using stack = await overPlugin(plugin, { file: image(512) });
    expect(await stack.next.blockSize()).toEqual({ minimum: 0, preferred: 0, maximum: 0 });
    expect(await stack.next.isRotational()).toBe(false);
  });
});

test.skipIf(!haveLoops)(
  "a block device reports the limits of its queue (needs a loop device)",
  async () => {
    using loop = loopDevice(image(1 << 20), "-b4096");
    if (loop === undefined) throw new Error("no loop device");
    const queue = (name: string): string =>
      readFileSync(`/sys/block/${basename(loop.device)}/queue/${name}`, "utf8").trim();
    await using stack = await overPlugin(plugin, { file: loop.device });
    expect(await stack.next.getSize()).toBe(1n << 20n);
    expect(await stack.next.isRotational()).toBe(queue("rotational") === "1");
    expect(queue("minimum_io_size")).toBe("4096");
    expect(await stack.next.blockSize()).toEqual({
      minimum: 4096,
      preferred: Number(queue("optimal_io_size")) || 4096,
      maximum: 4294967295,
    });
  },
);

/** The contract of exports: they are independent, in every filter in filters/ and each plugin with exports. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { definePlugin, EXTENT_HOLE, EXTENT_ZERO, NbdError, type NextOps } from "#api";
import { typescriptLayer } from "#modules/typescript";
import { abilities, clientOf, configuredChain, mapOf } from "#test/chain";

import file from "../../plugins/file/file.ts";
import type { Chain } from "../../src/chain/chain.ts";
import { allFilters, type Subject } from "./subjects.ts";

interface Disk {
  readonly bytes: Uint8Array;
  readonly description: string;
  readonly preferred: number;
  readonly rotational: boolean;
}

const filled = (size: number, seed: number) =>
  Uint8Array.from({ length: size }, (_, at) =>
    (at >> 9) % (seed + 2) === 0 ? 0 : (at * seed) % 251,
  );

/** Two disks that differ in everything. */
function disksFor(subject: Partial<Subject>): Map<string, Disk> {
  const one = filled(16384, 3);
  const two = filled(32768, 5);
  subject.prepare?.(one);
  subject.prepare?.(two, 3);
  return new Map([
    ["one", { bytes: one, description: "the first", preferred: 8192, rotational: true }],
    ["two", { bytes: two, description: "the second", preferred: 131072, rotational: false }],
  ]);
}

/** A plugin whose answers all depend on the export. Its default export is "one". */
function exportsPlugin(disks: ReadonlyMap<string, Disk>) {
  return definePlugin({
    name: "exports",
    listExports(_config, _readonly, _isTls, exports) {
      for (const name of disks.keys()) exports.add(name);
    },
    defaultExport: () => "one",
    open(_config, _readonly, exportName): Disk {
      const disk = disks.get(exportName);
      if (disk === undefined) throw new NbdError("ENOENT", `no export ${exportName}`);
      return disk;
    },
    getSize: ({ bytes }) => BigInt(bytes.length),
    exportDescription: ({ description }) => description,
    blockSize: ({ preferred }) => ({ minimum: 1, preferred, maximum: 0xffffffff }),
    isRotational: ({ rotational }) => rotational,
    canMultiConn: () => true,
    pread({ bytes }, buf, offset) {
      buf.set(bytes.subarray(Number(offset), Number(offset) + buf.length));
    },
    pwrite({ bytes }, buf, offset) {
      bytes.set(buf, Number(offset));
    },
    extents({ bytes }, count, offset, _flags, extents) {
      const end = Number(offset) + count;
      for (let at = Number(offset) & ~511; at < end; at += 512) {
        const zero = bytes.subarray(at, at + 512).every((byte) => byte === 0);
        extents.add(BigInt(at), 512n, zero ? EXTENT_HOLE | EXTENT_ZERO : 0);
      }
    },
  });
}

async function open(chain: Chain, exportName: string) {
  const connection = chain.connect(clientOf(chain));
  await connection.open(false, exportName, false);
  return {
    next: connection.top as NextOps,
    [Symbol.asyncDispose]: () => connection.close(),
  };
}

async function contentsOf(next: NextOps): Promise<Uint8Array> {
  const all = new Uint8Array(Number(await next.getSize()));
  await next.pread(all, 0n, 0);
  return all;
}

/** All facts that a client can query of an export. */
async function factsOf(next: NextOps) {
  const size = await next.getSize();
  return {
    size,
    description: await next.exportDescription(),
    blockSize: await next.blockSize(),
    abilities: await abilities(next),
    map: await mapOf(next, 0n, Number(size)),
    contents: Buffer.from(await contentsOf(next)).toString("hex"),
  };
}

/** Expect both exports of one chain to be as each of them alone. */
async function aloneAndTogether(start: () => Promise<Chain>) {
  const alone: unknown[] = [];
  for (const name of ["one", "two"]) {
    await using client = await open(await start(), name);
    alone.push(await factsOf(client.next));
  }
  const chain = await start();
  await using one = await open(chain, "one");
  await using two = await open(chain, "two");
  const together = await Promise.all([factsOf(one.next), factsOf(two.next)]);
  expect<unknown>(together).toEqual(alone);
  expect(together[0]?.size).not.toBe(together[1]?.size);
  expect(together[0]?.contents).not.toBe(together[1]?.contents);
}

/** Expect writes to one export, as far as its filter can write, to change that export only. */
async function writesStayApart(chain: Chain, shows = (byte: number) => byte) {
  await using one = await open(chain, "one");
  await using two = await open(chain, "two");
  const [first, second] = [await contentsOf(one.next), await contentsOf(two.next)];
  const change = async (next: NextOps, model: Uint8Array, byte: number) => {
    if (await next.canWrite()) {
      await next.pwrite(new Uint8Array(3000).fill(byte), 1000n, 0);
      model.fill(shows(byte), 1000, 4000);
    }
    if ((await next.canZero()) !== "none") {
      await next.zero(2048, 6144n, 0);
      model.fill(shows(0), 6144, 8192);
    }
  };
  const expectBoth = async () => {
    for (const [name, model] of [
      ["one", first],
      ["two", second],
    ] as const) {
      await using later = await open(chain, name);
      expect(Buffer.compare(await contentsOf(later.next), model)).toBe(0);
    }
    expect(Buffer.compare(await contentsOf(one.next), first)).toBe(0);
    expect(Buffer.compare(await contentsOf(two.next), second)).toBe(0);
  };
  await change(one.next, first, 0xee);
  await expectBoth();
  await change(two.next, second, 0xdd);
  await expectBoth();
}

describe.each(await allFilters())("$name", (subject) => {
  // With a range, all exports would have the same size.
  const { range: _, ...texts } = subject.texts;
  const start = () => {
    const filter = typescriptLayer("filter", subject.module, "test");
    const plugin = typescriptLayer("plugin", exportsPlugin(disksFor(subject)), "test");
    return configuredChain([filter, plugin], texts);
  };

  test("answers for each export as if it were the only one", () => aloneAndTogether(start));

  test("keeps writes to one export out of the others", async () => {
    await writesStayApart(await start(), subject.shows);
  });

  test("opens the default export for an empty name", async () => {
    const chain = await start();
    await using unnamed = await open(chain, "");
    await using named = await open(chain, "one");
    expect(await contentsOf(unnamed.next)).toEqual(await contentsOf(named.next));
    if (!(await unnamed.next.canWrite())) return;
    await unnamed.next.pwrite(new Uint8Array(100).fill(0xcc), 200n, 0);
    const buf = new Uint8Array(100);
    await named.next.pread(buf, 200n, 0);
    expect(buf).toEqual(new Uint8Array(100).fill(subject.shows?.(0xcc) ?? 0xcc));
  });
});

describe("the file plugin with dir=", () => {
  const temp = mkdtempSync(join(tmpdir(), "exports-"));
  afterAll(() => rmSync(temp, { recursive: true }));
  let folders = 0;
  const start = () => {
    const folder = mkdtempSync(join(temp, `${(folders += 1)}-`));
    for (const [name, { bytes }] of disksFor({})) writeFileSync(join(folder, name), bytes);
    const chain = configuredChain([typescriptLayer("plugin", file, "test")], { dir: folder });
    return { chain, folder };
  };

  test("answers for each export as if it were the only one", () =>
    aloneAndTogether(() => start().chain));

  test("keeps writes to one export out of the others", async () => {
    const { chain, folder } = start();
    await writesStayApart(await chain);
    expect(readFileSync(join(folder, "one"))[1000]).toBe(0xee);
    expect(readFileSync(join(folder, "two"))[1000]).toBe(0xdd);
  });
});

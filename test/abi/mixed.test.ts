/** Chains of C and TypeScript layers in every order, through the real seam and the native runtime. */
import { describe, expect, test } from "bun:test";

import {
  after,
  ConfigError,
  defineFilter,
  FLAG_FUA,
  FLAG_MAY_TRIM,
  NbdError,
  type NextOps,
} from "#api";
import { errnoOf } from "#test/chain";
import { compileModule, haveCompiler } from "#test/modules";
import { nativeLayer, nativeStack, scriptLayer } from "#test/native";

import type { Layer } from "../../src/chain/layer.ts";

/** A filter that adds 1 to every byte of a read, at once or later. */
const plusOne = (later: boolean) =>
  defineFilter({
    name: "plusone",
    pread(next, _handle, buf, offset, flags) {
      const add = () => {
        for (let i = 0; i < buf.length; i++) buf[i] = ((buf[i] ?? 0) + 1) & 255;
      };
      if (!later) return after(next.pread(buf, offset, flags), add);
      return new Promise<void>((resolve, reject) => {
        setImmediate(() => {
          Promise.resolve(next.pread(buf, offset, flags)).then(() => {
            add();
            resolve();
          }, reject);
        });
      });
    },
  });

const xor = async () => nativeLayer("filter", await compileModule("examples/xor/xor.c"));
const tailGuard = async () =>
  nativeLayer("filter", await compileModule("examples/tail-guard/tail-guard.c"));

async function readAll(top: NextOps, size: number): Promise<Uint8Array> {
  const buf = new Uint8Array(size);
  await top.pread(buf, 0n, 0);
  return buf;
}

describe.skipIf(!haveCompiler)("mixed chains (needs cc)", () => {
  const chains: readonly {
    readonly what: string;
    readonly filters: () => Promise<Layer[]>;
    readonly expected: (byte: number) => number;
  }[] = [
    {
      what: "C above TS",
      filters: async () => [await xor()],
      expected: (byte) => byte ^ 0x5a,
    },
    {
      what: "C, C above TS",
      filters: async () => [await xor(), await xor()],
      expected: (byte) => byte,
    },
    {
      what: "TS, C above TS",
      filters: async () => [scriptLayer("filter", plusOne(false)), await xor()],
      expected: (byte) => ((byte ^ 0x5a) + 1) & 255,
    },
    {
      what: "C, TS, C above TS",
      filters: async () => [await xor(), scriptLayer("filter", plusOne(false)), await xor()],
      expected: (byte) => (((byte ^ 0x5a) + 1) & 255) ^ 0x5a,
    },
    {
      what: "C, slow TS, C, slow TS, a filter for nbdkit 1.2 above TS",
      filters: async () => [
        await xor(),
        scriptLayer("filter", plusOne(true)),
        await xor(),
        scriptLayer("filter", plusOne(true)),
        await tailGuard(),
      ],
      expected: (byte) => (((((byte + 1) & 255) ^ 0x5a) + 1) & 255) ^ 0x5a,
    },
  ];

  for (const later of [false, true]) {
    const when = later ? "later" : "at once";
    test.each(chains)(`$what: reads pass all layers if the disk answers ${when}`, async (chain) => {
      await using stack = await nativeStack(await chain.filters(), { "xor-key": "90" }, { later });
      const { top } = await stack.connect();
      const expected = stack.disk.map(chain.expected);
      expect(await readAll(top, 65536)).toEqual(expected);
      const at = (i: number) => BigInt(i * 512);
      const parts = await Promise.all(
        Array.from({ length: 100 }, async (_, i) => {
          const buf = new Uint8Array(512);
          await top.pread(buf, at(i), 0);
          return buf;
        }),
      );
      expect(parts).toEqual(parts.map((_, i) => expected.slice(i * 512, i * 512 + 512)));
    });
  }

  test("`next` of a request still works after the request", async () => {
    let kept: NextOps | undefined;
    const keeps = defineFilter({
      name: "keeps",
      pread(next, _handle, buf, offset, flags) {
        kept = next;
        return next.pread(buf, offset, flags);
      },
    });
    const filters = [await xor(), scriptLayer("filter", keeps), await xor()];
    await using stack = await nativeStack(filters, { "xor-key": "90" });
    const { top } = await stack.connect();
    expect(await readAll(top, 512)).toEqual(stack.disk.slice(0, 512));
    const buf = new Uint8Array(512);
    await kept?.pread(buf, 0n, 0);
    expect(buf).toEqual(stack.disk.slice(0, 512).map((byte) => byte ^ 90));
  });

  test("written data reads back unchanged", async () => {
    await using stack = await nativeStack([await xor()], { "xor-key": "7" });
    const { top } = await stack.connect();
    const data = Uint8Array.from({ length: 3000 }, (_, i) => i % 256);
    const kept = data.slice();
    await top.pwrite(data, 100n, 0);
    expect(data).toEqual(kept);
    const back = new Uint8Array(3000);
    await top.pread(back, 100n, 0);
    expect(back).toEqual(data);
    expect(stack.disk.subarray(100, 3100)).toEqual(data.map((byte) => byte ^ 7));
  });

  test("FUA becomes a flush below a filter whose callbacks have no flags", async () => {
    await using stack = await nativeStack([await xor()], { "xor-key": "1" });
    const { top } = await stack.connect();
    expect(await top.canFua()).toBe("emulate");
    await top.pwrite(new Uint8Array(512), 0n, FLAG_FUA);
    expect(stack.calls).toEqual(["pwrite 512 0", "flush"]);
  });

  test("a filter of the original layout does not offer multi-conn", async () => {
    await using stack = await nativeStack([await xor()], { "xor-key": "1" });
    expect(await (await stack.connect()).top.canMultiConn()).toBe(false);
  });

  test("a parameter that no filter uses reaches the layers below", async () => {
    let got = "";
    const catcher = scriptLayer("filter", {
      name: "catcher",
      config(next: (k: string, v: string) => void, _config: unknown, key: string, value: string) {
        if (key !== "mine") return next(key, value);
        got = value;
      },
    });
    await using stack = await nativeStack([await xor(), catcher], {
      "xor-key": "1",
      mine: "ümläut",
    });
    await stack.connect();
    expect(got).toBe("ümläut");
  });

  test("a parameter that a TypeScript layer refuses fails with that layer's message", async () => {
    const stack = nativeStack([await xor()], { unknown: "1" });
    await expect(stack).rejects.toThrow("unknown parameter unknown=1");
  });

  test("a parameter that a C filter refuses fails with the filter's own message only", async () => {
    await expect(nativeStack([await xor()], { "xor-key": "256" })).rejects.toThrow(
      new ConfigError(""),
    );
  });

  test("a filter for nbdkit 1.2 opens the layer below and refuses writes", async () => {
    await using stack = await nativeStack([await tailGuard()], { guard: "1k" });
    const { top } = await stack.connect();
    const block = new Uint8Array(512);
    expect(await errnoOf(() => top.pwrite(block, 65536n - 1024n, 0))).toBe("EPERM");
    expect(await errnoOf(() => top.pwrite(block, 65536n - 1536n, 0))).toBe("no error");
  });

  test("an error passes C filters unchanged", async () => {
    const fail = (call: string) => {
      if (call.startsWith("pwrite")) throw new NbdError("EDQUOT", "the disk's quota");
    };
    await using stack = await nativeStack([await xor(), await xor()], { "xor-key": "1" }, { fail });
    const { top } = await stack.connect();
    expect(await errnoOf(() => top.pwrite(new Uint8Array(16), 0n, 0))).toBe("EDQUOT");
  });

  test("more requests than threads finish in five alternating layers", async () => {
    const filters = [
      await nativeLayer("filter", await compileModule("examples/xor/xor.c"), { threads: 2 }),
      scriptLayer("filter", plusOne(true)),
      await nativeLayer("filter", await compileModule("examples/xor/xor.c"), { threads: 2 }),
      scriptLayer("filter", plusOne(true)),
      await nativeLayer("filter", await compileModule("examples/xor/xor.c"), { threads: 2 }),
    ];
    await using stack = await nativeStack(filters, { "xor-key": "3" }, { later: true });
    const first = await stack.connect();
    const second = await stack.connect();
    const expected = stack.disk.map((byte) => ((((byte ^ 3) + 1) ^ 3) + 1) ^ 3);
    const all = [first, second].flatMap(({ top }) =>
      Array.from({ length: 200 }, async (_, i) => {
        const buf = new Uint8Array(256);
        await top.pread(buf, BigInt(i * 256), 0);
        expect(buf).toEqual(expected.slice(i * 256, i * 256 + 256));
      }),
    );
    await Promise.all(all);
  });

  test("a TypeScript layer below a C filter may make several requests at once", async () => {
    const split = scriptLayer("filter", {
      name: "split",
      async pread(next: NextOps, _handle: unknown, buf: Uint8Array, offset: bigint) {
        const half = buf.length >> 1;
        await Promise.all([
          next.pread(buf.subarray(0, half), offset, 0),
          next.pread(buf.subarray(half), offset + BigInt(half), 0),
        ]);
      },
    });
    await using stack = await nativeStack(
      [await xor(), split, await xor()],
      { "xor-key": "9" },
      { later: true },
    );
    const { top } = await stack.connect();
    const reads = Array.from({ length: 40 }, () => readAll(top, 4096));
    for (const read of await Promise.all(reads)) expect(read).toEqual(stack.disk.slice(0, 4096));
  });

  test.each([false, true])(
    "it may also do so above a C filter that holds a mutex (disk answers later: %p)",
    async (later) => {
      const split = scriptLayer("filter", {
        name: "split",
        async pwrite(next: NextOps, _handle: unknown, buf: Uint8Array, offset: bigint) {
          const half = buf.length >> 1;
          await Promise.all([
            next.pwrite(buf.subarray(0, half), offset, 0),
            next.pwrite(buf.subarray(half), offset + BigInt(half), 0),
          ]);
        },
      });
      const rmw = nativeLayer("filter", await compileModule("test/fixtures/rmw.c"));
      await using stack = await nativeStack(
        [await xor(), split, rmw],
        { "xor-key": "0" },
        { later },
      );
      const { top } = await stack.connect();
      const model = stack.disk.slice();
      await Promise.all(
        Array.from({ length: 40 }, async (_, i) => {
          const data = new Uint8Array(300).fill(i + 1);
          model.set(data, i * 300 + 7);
          await top.pwrite(data, BigInt(i * 300 + 7), 0);
        }),
      );
      expect(stack.disk).toEqual(model);
    },
  );

  test("a layer may use the `next` of prepare after it has answered a request", async () => {
    let late: Promise<unknown> = Promise.resolve();
    let background: NextOps | undefined;
    const prefetch = scriptLayer("filter", {
      name: "prefetch",
      prepare(next: NextOps) {
        background = next;
      },
      async pread(next: NextOps, _handle: unknown, buf: Uint8Array, offset: bigint) {
        await next.pread(buf, offset, 0);
        const ahead = new Uint8Array(64);
        late = Promise.all([
          background?.pread(ahead, 0n, 0),
          new Promise((resolve) => setImmediate(resolve)).then(() =>
            background?.pread(ahead, 64n, 0),
          ),
        ]);
      },
    });
    await using stack = await nativeStack(
      [await xor(), prefetch, await xor()],
      { "xor-key": "5" },
      { later: true },
    );
    const { top } = await stack.connect();
    for (let i = 0; i < 50; i++) await readAll(top, 128);
    await late;
    expect(await readAll(top, 128)).toEqual(stack.disk.slice(0, 128));
  });

  describe.each([1, 2])("a C plugin of API %i", (api) => {
    const plugin = async () =>
      nativeLayer("plugin", await compileModule(`examples/ramdisk-v${api}/ramdisk-v${api}.c`));

    test.each(["alone", "below TS", "below C", "below C, TS"])("works %s", async (where) => {
      const filters: Layer[] = [];
      if (where.includes("C")) filters.push(await xor());
      if (where.includes("TS")) filters.push(scriptLayer("filter", defineFilter({ name: "thru" })));
      await using stack = await nativeStack(
        filters,
        where.includes("C") ? { size: "1M", "xor-key": "51" } : { size: "1M" },
        { plugin: await plugin() },
      );
      const { top } = await stack.connect();
      expect(await top.getSize()).toBe(1048576n);
      const data = Uint8Array.from({ length: 5000 }, (_, i) => (i * 3) % 256);
      await top.pwrite(data, 1000n, (await top.canFua()) === "none" ? 0 : FLAG_FUA);
      const back = new Uint8Array(5000);
      await top.pread(back, 1000n, 0);
      expect(back).toEqual(data);
      await top.zero(500, 1000n, FLAG_MAY_TRIM);
      await top.pread(back, 1000n, 0);
      expect(back.subarray(500)).toEqual(data.subarray(500));
      expect(new Set(back.subarray(0, 500))).toEqual(new Set([0]));
    });
  });
});

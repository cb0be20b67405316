/** How the server uses `window` and `descriptor`. Invalid ones fail when a client opens the export. */
import { afterEach, beforeEach, describe, expect, spyOn, test } from "bun:test";

import { defineFilter, definePlugin, Extents, NbdError } from "#api";
import { log } from "#lib/log";
import { above, clientOf, configuredChain, overPlugin } from "#test/chain";

import { nameOf, waitedFor } from "../../src/chain/waiting.ts";
import { typescriptLayer } from "../../src/modules/typescript.ts";

let logged: ReturnType<typeof spyOn<typeof log, "error">>;
beforeEach(() => {
  logged = spyOn(log, "error").mockImplementation(() => {});
});
afterEach(() => {
  logged.mockRestore();
});

const disk = () => Uint8Array.from({ length: 4096 }, (_, i) => i % 251);
const largest = 2n ** 63n - 1n;

async function failureOf(call: () => unknown): Promise<NbdError> {
  const error: unknown = await Promise.try(call).catch((it: unknown) => it);
  if (!(error instanceof NbdError)) throw new Error(`no NbdError, but ${String(error)}`);
  return error;
}

const bigint = "expected a bigint from 0n";

describe("a window", () => {
  test.each([
    [{ offset: 4097n }, "offset (4097) is larger than the real size (4096)"],
    [{ offset: 0n, size: 4097n }, "offset+size (0+4097) is larger than the real size (4096)"],
    [{ offset: 4096n, size: 1n }, "offset+size (4096+1) is larger than the real size (4096)"],
    [
      { offset: largest, size: largest },
      `offset+size (${largest}+${largest}) is larger than the real size (4096)`,
    ],
  ])("beyond the layer below is refused: %p", async (window, message) => {
    for (const later of [false, true]) {
      const answer = () => (later ? Promise.resolve(window) : window);
      await using stack = await above(disk(), defineFilter({ name: "lens", window: answer }));
      const { errno, message: words } = await failureOf(() => stack.next.getSize());
      expect([errno, words]).toEqual(["EINVAL", `lens: window: ${message}`]);
      expect((await failureOf(() => stack.next.pread(new Uint8Array(1), 0n, 0))).errno).toBe(
        "EINVAL",
      );
    }
  });

  test("that is answered later is asked for once, even if several requests wait", async () => {
    let asked = 0n;
    const window = async () => {
      const offset = 512n * ++asked;
      // If the window is asked for several times, the first answer comes last.
      for (let turn = asked; turn < 4n; turn++) await Promise.resolve();
      return { offset };
    };
    await using stack = await above(disk(), defineFilter({ name: "lens", window }));
    const sizes = await Promise.all([1, 2, 3].map(async () => await stack.next.getSize()));
    expect({ asked, sizes }).toEqual({ asked: 1n, sizes: [3584n, 3584n, 3584n] });
    const buf = new Uint8Array(8);
    await stack.next.pread(buf, 0n, 0);
    expect(buf).toEqual(disk().slice(512, 520));
  });

  test.each([
    [undefined, "undefined: expected an object with an offset"],
    [5n, "5n (a bigint): expected an object with an offset"],
    [{}, `an offset of undefined: ${bigint}`],
    [{ offset: 5 }, `an offset of 5 (a number): ${bigint}`],
    [{ offset: -1n }, `an offset of -1n (a bigint): ${bigint}`],
    [{ offset: 0n, size: "1k" }, `a size of "1k" (a string): ${bigint}`],
    [{ offset: 0n, size: -1n }, `a size of -1n (a bigint): ${bigint}`],
  ])("of the wrong type fails with EIO: %p", async (window, message) => {
    await using stack = await above(disk(), { name: "lens", window: () => window });
    const { errno, message: words } = await failureOf(() => stack.next.getSize());
    expect([errno, words]).toEqual(["EIO", `lens: window returned ${message}`]);
  });

  test("that throws is reported by its name", async () => {
    for (const later of [false, true]) {
      const window = () => {
        const error = new Error("no idea");
        if (later) return Promise.reject(error);
        throw error;
      };
      await using stack = await above(disk(), { name: "lens", window });
      const { errno, message } = await failureOf(() => stack.next.getSize());
      expect([errno, message]).toEqual(["EIO", "lens: window: no idea"]);
    }
  });

  test("that is not answered is reported by its own name", async () => {
    const { promise, resolve } = Promise.withResolvers<{ offset: bigint }>();
    await using stack = await above(disk(), defineFilter({ name: "lens", window: () => promise }));
    const size = stack.next.getSize();
    expect(waitedFor().map(nameOf)).toEqual(["lens: window"]);
    resolve({ offset: 512n });
    expect(await size).toBe(3584n);
  });

  test("is asked once for each open, with the handle", async () => {
    const asked: unknown[] = [];
    const lens = defineFilter({
      name: "lens",
      open: async (next, _config, readonly, exportName) => {
        await next(readonly, exportName);
        return exportName;
      },
      window(handle) {
        asked.push(handle);
        return { offset: 100n, size: 1000n };
      },
    });
    const plugin = definePlugin({
      name: "disk",
      open: () => ({}),
      getSize: () => 4096n,
      pread() {},
    });
    const layers = [typescriptLayer("filter", lens, "t"), typescriptLayer("plugin", plugin, "t")];
    const chain = await configuredChain(layers, {});
    for (const name of ["a", "b"]) {
      const connection = chain.connect(clientOf(chain));
      await connection.open(false, name, false);
      expect(await connection.top.getSize()).toBe(1000n);
      for (let i = 0; i < 3; i++) await connection.top.pread(new Uint8Array(1), 0n, 0);
      await connection.close();
    }
    expect(asked).toEqual(["a", "b"]);
  });

  test("in a window adds its offset", async () => {
    const lens = (name: string, offset: bigint, size?: bigint) =>
      defineFilter({ name, window: () => ({ offset, size }) });
    await using stack = await above(
      disk(),
      lens("outer", 3n, 1000n),
      {},
      {
        below: [lens("middle", 7n), { name: "plain" }, lens("inner", 500n, 2000n)],
      },
    );
    const { calls, next } = stack;
    expect(await next.getSize()).toBe(1000n);
    const buf = new Uint8Array(1000);
    await next.pread(buf, 0n, 0);
    expect(buf).toEqual(disk().subarray(510, 1510));
    const list = new Extents(10n, 1000n);
    await next.extents(20, 10n, 0, list);
    expect(list.entries).toEqual([{ offset: 10n, length: 504n, type: 0 }]);
    expect(calls).toEqual(["pread 1000 510", "extents 20 520"]);
  });
});

describe("a descriptor", () => {
  const plugin = { name: "lender", open: () => ({}), getSize: () => 4096n, pread() {} };
  const expected = "expected the number of an open file, or undefined";

  test.each([
    ["3", '"3" (a string)'],
    [3n, "3n (a bigint)"],
    [-1, "-1 (a number)"],
    [1.5, "1.5 (a number)"],
    [2 ** 31, "2147483648 (a number)"],
    [null, "null"],
  ])("of the wrong type fails the open with EIO: %p", async (answer, shown) => {
    const odd = { ...plugin, descriptor: () => answer };
    const { errno, message } = await failureOf(() => overPlugin(odd));
    expect([errno, message]).toEqual(["EIO", `lender: descriptor returned ${shown}: ${expected}`]);
  });

  test("that throws is reported by its name", async () => {
    const descriptor = () => {
      throw new Error("no idea");
    };
    const { errno, message } = await failureOf(() => overPlugin({ ...plugin, descriptor }));
    expect([errno, message]).toEqual(["EIO", "lender: descriptor: no idea"]);
  });
});

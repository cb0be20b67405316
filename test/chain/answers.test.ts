/** Answers of a wrong type: the message has the module's name of the method, the value, its type and the right type. */
import { describe, expect, test } from "bun:test";

import type { NextOps } from "#api";
import { typescriptLayer } from "#modules/typescript";
import { above, clientOf, configuredChain, overPlugin } from "#test/chain";

const plugin = { name: "odd", kind: "plugin", open: () => ({}), getSize: () => 1024n, pread() {} };

async function complaint(call: () => unknown): Promise<string> {
  try {
    await call();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return "it was accepted";
}

const supports = "one of none, emulate, native";
const size = "a bigint from 0n to 9223372036854775807n";

describe("of a filter in TypeScript", () => {
  test.each([
    ["getSize", 5, `5 (a number): expected ${size}`],
    ["getSize", -1n, `-1n (a bigint): expected ${size}`],
    ["getSize", "1M", `"1M" (a string): expected ${size}`],
    ["getSize", undefined, `undefined: expected ${size}`],
    ["canWrite", 1, "1 (a number): expected true or false"],
    ["canFlush", undefined, "undefined: expected true or false"],
    ["canExtents", "yes", '"yes" (a string): expected true or false'],
    ["isRotational", null, "null: expected true or false"],
    ["canMultiConn", {}, "an object (Object): expected true or false"],
    ["canFastZero", () => true, "a function: expected true or false"],
    ["canZero", true, `true (a boolean): expected ${supports}`],
    ["canFua", "some", `"some" (a string): expected ${supports}`],
    ["canCache", undefined, `undefined: expected ${supports}`],
    ["blockSize", 512, "512 (a number): expected an object of minimum, preferred and maximum"],
    ["blockSize", undefined, "undefined: expected an object of minimum, preferred and maximum"],
    ["exportDescription", 7, "7 (a number): expected a string or undefined"],
  ] as const)("%s returns %p", async (method, answer, message) => {
    for (const later of [false, true]) {
      const filter = { name: "odd", [method]: () => (later ? Promise.resolve(answer) : answer) };
      await using stack = await above(new Uint8Array(1024), filter);
      expect(await complaint(() => stack.next[method as keyof NextOps & "getSize"]())).toBe(
        `odd: ${method} returned ${message}`,
      );
    }
  });

  test("defaultExport and threadModel", async () => {
    const names = { name: "odd", defaultExport: () => 9 };
    expect(await complaint(() => above(new Uint8Array(1), names))).toBe(
      "odd: defaultExport returned 9 (a number): expected a string or undefined",
    );
    const model = { name: "odd", threadModel: () => 3 };
    expect(await complaint(() => above(new Uint8Array(1), model))).toBe(
      "odd: threadModel returned 3 (a number): expected one of " +
        "serialize_connections, serialize_all_requests, serialize_requests, parallel",
    );
  });
});

test.each(["none", "emulate", "native", 1, undefined])(
  "canZero of a plugin in TypeScript says whether it can, not %p",
  async (answer) => {
    await using stack = await overPlugin({
      ...plugin,
      pwrite() {},
      zero() {},
      canZero: () => answer,
    });
    expect(await complaint(() => stack.next.canZero())).toMatch(
      /^odd: canZero returned .*: expected true or false$/,
    );
  },
);

test("an unexpected exception is reported with the method's name in TypeScript", async () => {
  const bug = () => {
    throw new TypeError("a bug");
  };
  await using stack = await above(new Uint8Array(1024), { name: "odd", canMultiConn: bug });
  expect(await complaint(() => stack.next.canMultiConn())).toBe("odd: canMultiConn: a bug");
  const start = configuredChain([typescriptLayer("plugin", { ...plugin, getReady: bug }, "x")], {});
  expect(await complaint(() => start)).toMatch(
    /^odd: getReady threw an unexpected exception: TypeError: a bug/,
  );
  const chain = await configuredChain([typescriptLayer("plugin", plugin, "x.ts")], {});
  await using _ = { [Symbol.asyncDispose]: () => chain.unload() };
  expect(clientOf(chain).logName).toBe("odd[1]");
});

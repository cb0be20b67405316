/** Mistakes in the export of a TypeScript module, which are found when the module is loaded. */
import { describe, expect, test } from "bun:test";

import { defineFilter, definePlugin, param } from "#api";
import { typescriptLayer } from "#modules/typescript";

const plugin = { name: "p", open: () => ({}), getSize: () => 1n, pread: () => {} };
const filter = { name: "f" };

function load(kind: "filter" | "plugin", members: object): string {
  try {
    typescriptLayer(kind, { ...(kind === "filter" ? filter : plugin), ...members }, "x.ts");
    return "loaded";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

describe("a misspelt member", () => {
  test.each([
    ["filter", "pRead", "pread"],
    ["filter", "get_size", "getSize"],
    ["filter", "getsize", "getSize"],
    ["filter", "canFlsh", "canFlush"],
    ["filter", "read", "pread"],
    ["filter", "write", "pwrite"],
    ["filter", "fills_reads", "fillsReads"],
    ["filter", "long_name", "longName"],
    ["filter", "longname", "longName"],
    ["filter", "Close", "close"],
    ["plugin", "can_fua", "canFua"],
    ["plugin", "magic_config_key", "magicConfigKey"],
    ["plugin", "parms", "params"],
    ["plugin", "descripter", "descriptor"],
    ["filter", "windows", "window"],
  ] as const)("of a %s, %s, is refused with %s", (kind, key, meant) => {
    for (const value of [() => {}, 1, undefined]) {
      expect(load(kind, { [key]: value })).toBe(
        `x.ts: ${kind}.${key}: there is no such member: did you mean ${meant}? ` +
          "(A helper of your own may be called so with an underscore in front.)",
      );
    }
  });

  test.each([
    ["filter", "descriptor", "plugin"],
    ["filter", "magicConfigKey", "plugin"],
    ["plugin", "prepare", "filter"],
    ["plugin", "window", "filter"],
    ["filter", "extentsAnswerReads", "plugin"],
  ] as const)("of a %s, %s, is refused if only the other kind has it", (kind, key, owner) => {
    expect(load(kind, { [key]: () => {} })).toBe(
      `x.ts: ${kind}.${key}: only a ${owner} has this member`,
    );
  });

  test("of the C interface is refused with its replacement", () => {
    expect(load("plugin", { config_help: "size=N" })).toBe(
      "x.ts: plugin.config_help: expected the help of each parameter in `params`",
    );
  });
});

test.each(["getSize", "pread", "pwrite", "trim", "zero", "extents", "cache"])(
  "a filter that declares a window cannot have %s",
  (method) => {
    const window = () => ({ offset: 0n });
    expect(load("filter", { window, canZero: () => "none", blockSize() {}, flush() {} })).toBe(
      "loaded",
    );
    expect(load("filter", { window, [method]: () => {} })).toBe(
      `x.ts: filter.${method}: a filter that declares window cannot have this method: it follows from the window`,
    );
  },
);

test("other members of the author's own are accepted", () => {
  const own = { helper() {}, counts: new Map(), _read() {}, _pread: 1, Limits: {}, [Symbol()]: 1 };
  expect(load("filter", own)).toBe("loaded");
  expect(load("plugin", own)).toBe("loaded");
});

test("an instance of a class is refused, since its methods would not be found", () => {
  class Mine {
    name = "mine";
    open() {}
    getSize() {
      return 1n;
    }
    pread() {}
  }
  const message =
    "is an object of the class Mine: expected a plain object, whose methods are its own";
  const of = (kind: "filter" | "plugin", it: object) => () => typescriptLayer(kind, it, "x.ts");
  expect(of("plugin", new Mine())).toThrow(`x.ts: the plugin ${message}`);
  expect(of("plugin", definePlugin(new Mine()))).toThrow(`x.ts: the plugin ${message}`);
  expect(of("filter", defineFilter({ name: new Mine().name }))).not.toThrow();
});

describe("the table of parameters", () => {
  test.each([
    [{ params: 5 }, "filter.params is 5: expected an object"],
    [{ params: { size: "1M" } }, 'filter.params.size is "1M": expected what a function of `param`'],
    [{ params: { size: param.size } }, "expected what a function of `param` returns"],
    [{ params: { "a b": param.string({ help: "" }) } }, '"a b" cannot be the key of a parameter'],
    [{ params: { "9": param.string({ help: "" }) } }, '"9" cannot be the key of a parameter'],
  ])("is looked at when the module is loaded (%#)", (members, message) => {
    expect(load("filter", members)).toContain(message);
  });
});

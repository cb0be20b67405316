/** Tests of the table of parameters: what each kind reads, refuses, and shows in --help. */
import { describe, expect, test } from "bun:test";

import { ConfigError } from "../lib/errors.ts";
import { findParam, helpOf, lastGiven, type Param, param } from "./params.ts";

const help = "Help.";
const integer = param.integer({ min: -1, max: 10, help });
const choice = param.choice(["one", "two"], { help });
const even = param.custom((text) => (Number(text) % 2 === 0 ? Number(text) : undefined), {
  accepted: "an even number",
  help,
});

test("a misspelt option of a parameter is refused, with the right name", () => {
  const misspelt = { help, reqired: true };
  expect(() => param.size(misspelt)).toThrow(
    /^params: a parameter has no option "reqired": expected one of help, .*: did you mean required\?$/,
  );
});

describe("a value", () => {
  const read: readonly (readonly [string, string, Param<unknown>, unknown])[] = [
    ["size", "1k", param.size({ help }), 1024n],
    ["bool", "off", param.bool({ help }), false],
    ["integer", "0xa", integer, 10],
    ["integer", "-1", integer, -1],
    ["string", "", param.string({ help }), ""],
    ["path", "a/../b", param.path({ help }), `${process.cwd()}/a/../b`],
    ["path", "/a/../b", param.path({ help }), "/a/../b"],
    ["choice", "two", choice, "two"],
    ["custom", "4", even, 4],
    ["list", "3", param.list(integer), [3]],
  ];
  test.each(read)("of kind %s is read: '%s'", (_kind, text, one, value) => {
    expect(one.parse(text, "key", undefined)).toEqual(value);
  });

  const refused: readonly (readonly [string, string, Param<unknown>, string])[] = [
    [
      "size",
      "1q",
      param.size({ help }),
      "a size in bytes (decimal, 0x… or octal 0…), with an optional suffix b, k, m, g, t, p, e or s (512 bytes)",
    ],
    ["bool", "maybe", param.bool({ help }), "true or false"],
    ["integer", "11", integer, "an integer from -1 to 10"],
    ["integer", "-2", integer, "an integer from -1 to 10"],
    ["integer", "1k", integer, "an integer from -1 to 10"],
    ["path", "", param.path({ help }), "a path"],
    ["choice", "Two", choice, "one of one, two"],
    ["custom", "3", even, "an even number"],
    ["list", "three", param.list(choice), "one of one, two"],
  ];
  test.each(refused)(
    "of kind %s is refused with the accepted values: '%s'",
    (_kind, text, one, accepted) => {
      const parse = () => one.parse(text, "key", undefined);
      expect(parse).toThrow(new ConfigError(`key=${text}: expected ${accepted}`));
    },
  );
});

test("a list keeps all values in order, without changing earlier lists", () => {
  const list = param.list(choice);
  const first = list.parse("two", "key", list.initial);
  expect(list.parse("one", "key", first)).toEqual(["two", "one"]);
  expect(first).toEqual(["two"]);
  expect(list.initial).toEqual([]);
});

test("a required list has no value until it is given", () => {
  const list = param.list(param.string({ required: true, help }));
  expect([list.required, list.initial]).toEqual([true, undefined as never]);
  expect(list.parse("one", "key", list.initial)).toEqual(["one"]);
});

test("the later one of two parameters that set the same thing counts", () => {
  const one = param.ordered(param.integer({ min: 0, max: 9, help }));
  const other = param.ordered(param.integer({ min: 0, max: 9, help }));
  const first = one.parse("1", "one", one.initial);
  const second = other.parse("2", "other", other.initial);
  const third = one.parse("0", "one", first);
  expect([lastGiven(first, second), lastGiven(second, first)]).toEqual([2, 2]);
  expect([lastGiven(third, second), lastGiven(second, third)]).toEqual([0, 0]);
  expect([lastGiven(third, other.initial), lastGiven(one.initial, third)]).toEqual([0, 0]);
  expect(lastGiven(one.initial, other.initial)).toBeUndefined();
});

test("without a default the initial value is undefined", () => {
  expect([param.size({ help }).initial, param.size({ help, default: 7n }).initial]).toEqual([
    undefined,
    7n,
  ]);
});

const table = {
  offset: param.size({ default: 0n, help: "Where to start." }),
  "delay-read": param.string({ required: true, aliases: ["rdelay"], help: "How long." }),
};

test("a key is found by its name and its aliases, but not by names that every object has", () => {
  const keys = ["offset", "delay-read", "rdelay", "Offset", "constructor", ""];
  expect(keys.map((key) => findParam(table, key))).toEqual([
    "offset",
    "delay-read",
    "delay-read",
    undefined,
    undefined,
    undefined,
  ]);
});

test("help shows the type, the range and the default of each parameter, and which are required", () => {
  const all = {
    ...table,
    cache: param.bool({ default: true, help: "Whether to keep it." }),
    "a-parameter-of-a-long-name": param.integer({ min: 1, max: 16, default: 4, help: "How many." }),
    mode: param.choice(["slow", "fast"], {
      help: "How to do it.",
      shownDefault: "what the disk likes",
    }),
    file: param.list(param.path({ help: "A file." })),
    rate: param.custom(Number, {
      default: 0.5,
      accepted: "a rate from 0 to 1",
      help: "How often.",
    }),
    kind: param.custom(String, {
      type: "a|b",
      accepted: "a or b",
      help: "One word more than fits into the line, which is 80 wide.",
    }),
    when: param.ordered(param.size({ help: "No more than this." })),
    note: param.string({ default: "", help: "Any text." }),
  };
  expect(helpOf(all, "offset")).toBe(
    `[offset=]SIZE            Where to start (default 0)
delay-read=TEXT          How long (required; also rdelay=)
cache=true|false         Whether to keep it (default true)
a-parameter-of-a-long-name=N
                         How many (1 to 16; default 4)
mode=slow|fast           How to do it (default what the disk likes)
file=PATH                A file (repeatable)
rate=VALUE               How often (a rate from 0 to 1; default 0.5)
kind=a|b                 One word more than fits into the line, which is 80
                         wide.
when=SIZE                No more than this.
note=TEXT                Any text (default "")`,
  );
  expect(helpOf({})).toBeUndefined();
});

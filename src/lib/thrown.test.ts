/** Tests of the messages of errors. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";

import { messageOf, shown } from "./thrown.ts";

function thrownBy(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return error;
  }
}

test("messageOf returns the text of strerror(3) for an error of node:fs", () => {
  const known = thrownBy(() => readFileSync("/nowhere/x"));
  expect(messageOf(known)).toBe("No such file or directory");
  const words = Object.assign(new Error("my words"), { code: "ENOENT" });
  expect(messageOf(words)).toBe("my words");
  expect(messageOf(Object.assign(new Error("ENONE: x"), { code: "ENONE" }))).toBe("ENONE: x");
});

test("messageOf returns any other thrown value as it is", () => {
  expect(messageOf(new Error("a \ufffd"))).toBe("a \ufffd");
  expect(messageOf("words")).toBe("words");
});

test.each([
  [NaN, "NaN"],
  [-Infinity, "-Infinity"],
  [1.5, "1.5"],
  [2n, "2n"],
  ["a", '"a"'],
  [undefined, "undefined"],
])("shown prints %p as a program would write it", (value, text) => {
  expect(shown(value)).toBe(text);
});

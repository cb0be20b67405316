/** What errors say. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";

import { messageOf } from "./thrown.ts";

function thrownBy(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return error;
  }
}

test("an error of node:fs has its full message, except for a path that is not UTF-8", () => {
  const known = thrownBy(() => readFileSync("/nowhere/x"));
  expect(messageOf(known)).toBe("ENOENT: no such file or directory, open '/nowhere/x'");
  const odd = thrownBy(() => readFileSync(Buffer.from("/nowhere/x\xe9', open 'y", "latin1")));
  expect(messageOf(odd)).toBe("ENOENT: no such file or directory");
});

test("any other thrown value is printed as it is", () => {
  expect(messageOf(new Error("a \ufffd"))).toBe("a \ufffd");
  expect(messageOf("words")).toBe("words");
});

/** Tests of the messages of errors. */
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

test("messageOf returns the full message of node:fs, without a path that is not UTF-8", () => {
  const known = thrownBy(() => readFileSync("/nowhere/x"));
  expect(messageOf(known)).toBe("ENOENT: no such file or directory, open '/nowhere/x'");
  const odd = thrownBy(() => readFileSync(Buffer.from("/nowhere/x\xe9', open 'y", "latin1")));
  expect(messageOf(odd)).toBe("ENOENT: no such file or directory");
});

test("messageOf returns any other thrown value as it is", () => {
  expect(messageOf(new Error("a \ufffd"))).toBe("a \ufffd");
  expect(messageOf("words")).toBe("words");
});

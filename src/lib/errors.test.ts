/** The errors that layers throw. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";

import type { Errno } from "./errno.ts";
import { NbdError } from "./errors.ts";

function readingError(path: string | Buffer): unknown {
  try {
    return readFileSync(path);
  } catch (error) {
    return error;
  }
}

test("an error of node:fs becomes one with its errno, its path and the text of strerror(3)", () => {
  const from = (what: string) => NbdError.from(readingError("/nowhere/x"), what);
  expect(from("reading").errno).toBe("ENOENT");
  expect(from("reading").message).toBe("reading: /nowhere/x: No such file or directory");
  expect(from("opening /nowhere/x").message).toBe("opening /nowhere/x: No such file or directory");
});

test("a path that is not UTF-8 is left out, since Bun damages it", () => {
  const error = readingError(Buffer.from("/nowhere/\xe9", "latin1"));
  expect(NbdError.from(error, "reading").message).toBe("reading: No such file or directory");
});

test.each([
  ["EFOO", '"EFOO"'],
  [5, "5"],
  [undefined, "undefined"],
  ["toString", '"toString"'],
])("NbdError refuses %p, which is no name of an errno", (errno, value) => {
  expect(() => new NbdError(errno as Errno, "no room")).toThrow(
    `NbdError: ${value} is not an error number: expected a name such as "EIO": no room`,
  );
});

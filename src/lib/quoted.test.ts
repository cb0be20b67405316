/** Text from outside in messages. */
import { expect, test } from "bun:test";

import { printable, quoted, withoutControls } from "./quoted.ts";

test.each([
  { text: "plain ä", result: '"plain ä"' },
  { text: "", result: '""' },
  { text: 'a"b\\c', result: String.raw`"a\"b\\c"` },
  { text: "a\nb\rc\td", result: String.raw`"a\nb\rc\td"` },
  { text: "\u0000\u001b[31m\u007f", result: String.raw`"\x00\x1b[31m\x7f"` },
  { text: "\u0080\u009b\u00a0", result: '"\\u0080\\u009b\u00a0"' },
  { text: "\udce9\udc9b", result: '"\udce9\udc9b"' },
])("quoted returns $result", ({ text, result }) => {
  expect(quoted(text)).toBe(result);
});

test("printable doubles backslashes, and leaves quotes alone", () => {
  expect(printable('a\n"\\n\u001b')).toBe(String.raw`a\n"\\n\x1b`);
});

test("withoutControls keeps the given control characters, and leaves backslashes alone", () => {
  expect(withoutControls('a\n\t"\\\u001b', "\n\t")).toBe(String.raw`a${"\n\t"}"\\x1b`);
});

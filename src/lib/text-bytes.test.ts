/** Bytes to text and back, with bytes that are not UTF-8. */
import { describe, expect, test } from "bun:test";

import * as fc from "fast-check";

import { byteLengthOf, bytesOf, textOf } from "./text-bytes.ts";

describe("textOf and bytesOf", () => {
  test("convert UTF-8 like a TextDecoder", () => {
    for (const text of ["", "plain", "näme", "\ufeff€", "😀", "\u{10ffff}"]) {
      expect(textOf(new TextEncoder().encode(text))).toBe(text);
      expect(bytesOf(text)).toEqual(new TextEncoder().encode(text));
    }
  });

  test.each([
    { what: "a lone byte", bytes: [0x61, 0xff, 0x62], text: "a\udcffb" },
    { what: "Latin-1", bytes: [0x6e, 0xe4, 0x6d, 0x65], text: "n\udce4me" },
    { what: "a byte between characters", bytes: [0xc3, 0xa4, 0xe4, 0xc3, 0xa4], text: "ä\udce4ä" },
    { what: "an overlong form", bytes: [0xc0, 0xaf], text: "\udcc0\udcaf" },
    { what: "an encoded surrogate", bytes: [0xed, 0xb3, 0xbf], text: "\udced\udcb3\udcbf" },
    { what: "a character that is cut off", bytes: [0xf0, 0x9f, 0x98], text: "\udcf0\udc9f\udc98" },
  ])("keep bytes that are not UTF-8: $what", ({ bytes, text }) => {
    expect(textOf(Uint8Array.from(bytes))).toBe(text);
    expect(bytesOf(text)).toEqual(Uint8Array.from(bytes));
    expect(byteLengthOf(text)).toBe(bytes.length);
  });

  test("restore all bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        expect(bytesOf(textOf(bytes))).toEqual(bytes);
      }),
    );
  });

  test("decode the UTF-8 that a TextDecoder accepts, next to bytes that are not UTF-8", () => {
    const decoder = new TextDecoder("utf-8", { fatal: true });
    const isText = (bytes: Uint8Array): boolean => {
      try {
        return decoder.decode(bytes) !== "";
      } catch {
        return false;
      }
    };
    const lengths = [1, 2, 3, 4];
    for (let first = 0x80; first < 0x100; first++) {
      for (let second = 0x70; second < 0x100; second++) {
        const bytes = Uint8Array.of(0xff, first, second, 0x80, 0xbf);
        const length = lengths.find((it) => isText(bytes.subarray(1, 1 + it)));
        const text = textOf(bytes);
        const expected =
          length === undefined
            ? String.fromCharCode(0xdc00 + first)
            : decoder.decode(bytes.subarray(1, 1 + length));
        expect(text.slice(1, 1 + expected.length)).toBe(expected);
        expect(bytesOf(text)).toEqual(bytes);
      }
    }
  });

  test("encode a surrogate pair whose second half looks like an escaped byte as one character", () => {
    expect(bytesOf("\udcff\u{10080}")).toEqual(Uint8Array.of(0xff, 0xf0, 0x90, 0x82, 0x80));
  });

  test("encode half a surrogate pair that is not an escaped byte as U+FFFD", () => {
    expect(bytesOf("a\ud800b\udcff")).toEqual(Uint8Array.of(0x61, 0xef, 0xbf, 0xbd, 0x62, 0xff));
  });
});

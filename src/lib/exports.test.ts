/** Tests of the list of exports and its limits. */
import { describe, expect, test } from "bun:test";

import { Exports } from "./exports.ts";

const refused = (message: RegExp) =>
  expect.objectContaining({ code: "EINVAL", message: expect.stringMatching(message) });

describe("Exports", () => {
  test("keeps names and descriptions in order, even equal ones", () => {
    const exports = new Exports();
    exports.add("b", "second");
    exports.add("");
    exports.add("b");
    expect(exports.entries).toEqual([
      { name: "b", description: "second" },
      { name: "", description: undefined },
      { name: "b", description: undefined },
    ]);
    expect(exports.wantsDefault).toBe(false);
  });

  test.each([
    { answer: "disk", names: ["a", "disk"] },
    { answer: "", names: ["a", ""] },
    { answer: undefined, names: ["a"] },
  ])("adds the default export once its name is known: $answer", ({ answer, names }) => {
    const exports = new Exports();
    exports.useDefault();
    exports.add("a");
    expect(exports.wantsDefault).toBe(true);
    exports.settleDefault(answer);
    expect(exports.wantsDefault).toBe(false);
    expect(exports.entries.map((entry) => entry.name)).toEqual([...names]);
  });

  test("accepts strings of 4096 bytes", () => {
    const exports = new Exports();
    exports.add("ä".repeat(2048), "d".repeat(4096));
    expect(exports.entries.length).toBe(1);
  });

  test.each([
    { what: "a long name", name: "ä".repeat(2049), description: undefined },
    { what: "a long description", name: "a", description: "d".repeat(4097) },
    { what: "a name with a zero byte", name: "a\0b", description: undefined },
  ])("refuses $what", ({ name, description }) => {
    expect(() => new Exports().add(name, description)).toThrow(refused(/at most 4096 bytes/));
  });

  test("refuses more than 10000", () => {
    const exports = new Exports();
    for (let i = 0; i < 10_000; i++) exports.add(`${i}`);
    expect(() => exports.add("one more")).toThrow(
      refused(/"one more": a list holds at most 10000/),
    );
    expect(exports.entries.length).toBe(10_000);
  });
});

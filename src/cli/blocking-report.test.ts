/** The report about blocked JavaScript, from memory that the test fills. */
import { expect, test } from "bun:test";

import { Blocking } from "./blocking-report.ts";

const methods = ["", "pread", "pwrite"];

/** Two layers with four methods each, and the lines of the next looks. */
function fixture() {
  const memory = new SharedArrayBuffer(4 * (2 + 12));
  const words = new Int32Array(memory);
  const titles = ["", "f", "p"];
  const blocking = new Blocking({ memory, methods, methodsPerLayer: 4, titles });
  const linesOf = (looks: number) =>
    Array.from({ length: looks }, () => blocking.look()).filter((line) => line !== undefined);
  return { linesOf, words };
}

const now = 0;
const turns = 1;
const underWay = 2;

test("the report names the layer and method that block, once", () => {
  const { linesOf, words } = fixture();
  expect(linesOf(4)).toEqual([]);
  words[turns] = 1;
  words[now] = 2 * 4 + 1;
  expect(linesOf(4)).toEqual([]);
  expect(linesOf(20)).toEqual(["p: pread has blocked the server for 2 s"]);
  words[turns] = 2;
  expect(linesOf(20)).toEqual(["p: pread has blocked the server for 2 s"]);
});

test("there is no report while the event loop turns", () => {
  const { linesOf, words } = fixture();
  for (let i = 0; i < 20; i++) {
    words[turns] = i;
    expect(linesOf(3)).toEqual([]);
  }
});

test("the report names the outstanding calls if JavaScript blocks outside of calls", () => {
  const { linesOf, words } = fixture();
  words[underWay + 1 * 4 + 2] = 3;
  expect(linesOf(6)).toEqual([
    "the server has been blocked for 2 s by JavaScript outside calls of layers, perhaps code after an await in f: pwrite",
  ]);
});

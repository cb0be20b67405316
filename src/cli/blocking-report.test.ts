/** What is said of JavaScript that is blocked, from memory that the test fills. */
import { expect, test } from "bun:test";

import { Blocking } from "./blocking-report.ts";

const methods = ["", "pread", "pwrite"];

/** Two layers, with four methods each. */
function fixture() {
  const memory = new SharedArrayBuffer(4 * (2 + 12));
  const words = new Int32Array(memory);
  const titles = ["", "filter f", "plugin p"];
  const blocking = new Blocking({ memory, methods, methodsPerLayer: 4, titles });
  const looks = (count: number) => Array.from({ length: count }, () => blocking.look());
  const said = (count: number) => looks(count).filter((it) => it !== undefined);
  return { said, words };
}

const now = 0;
const turns = 1;
const underWay = 2;

test("names the layer and method that block, once", () => {
  const { said, words } = fixture();
  expect(said(4)).toEqual([]);
  words[turns] = 1;
  words[now] = 2 * 4 + 1;
  expect(said(4)).toEqual([]);
  expect(said(20)).toEqual(["plugin p: pread has blocked the server for 2 s"]);
  words[turns] = 2;
  expect(said(20)).toEqual(["plugin p: pread has blocked the server for 2 s"]);
});

test("is silent while the event loop turns", () => {
  const { said, words } = fixture();
  for (let i = 0; i < 20; i++) {
    words[turns] = i;
    expect(said(3)).toEqual([]);
  }
});

test("names the outstanding calls if no layer was called", () => {
  const { said, words } = fixture();
  words[underWay + 1 * 4 + 2] = 3;
  expect(said(6)).toEqual([
    "the server has been blocked for 2 s by JavaScript outside calls of layers, perhaps code after an await in filter f: pwrite",
  ]);
});

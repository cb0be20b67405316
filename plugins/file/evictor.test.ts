/** cache=none drops pages from the page cache. */
import { expect, test } from "bun:test";

import { Evictor } from "./evictor.ts";
import { fakeFile } from "./open-file-fixture.ts";

function evictor() {
  const { file, recorded } = fakeFile();
  return { recorded, it: new Evictor(file.fd, file.calls) };
}

test("cache=none drops data that was read", async () => {
  const { it, recorded } = evictor();
  await it.read(512n, 100);
  expect(recorded).toEqual(["advise 512 100"]);
});

test("cache=none drops a written range after eight more writes", async () => {
  const { it, recorded } = evictor();
  for (let at = 0n; at < 9n; at += 1n) await it.wrote(at, 1);
  expect(recorded.length).toBe(10);
  expect(recorded.at(-1)).toBe("advise 0 1");
});

test("cache=none drops all written ranges after a flush, once", async () => {
  const { it, recorded } = evictor();
  await it.wrote(0n, 1);
  await it.wrote(1n, 1);
  recorded.length = 0;
  await it.flushed();
  await it.flushed();
  expect(recorded).toEqual(["advise 0 1", "advise 1 1"]);
});

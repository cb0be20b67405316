/** cache=none: when pages are dropped. */
import { expect, test } from "bun:test";

import { Evictor } from "./evictor.ts";
import { fakeFile } from "./open-file-fixture.ts";

function evictor() {
  const { file, said } = fakeFile();
  return { said, it: new Evictor(file.fd, file.calls) };
}

test("drops data that was read", async () => {
  const { it, said } = evictor();
  await it.read(512n, 100);
  expect(said).toEqual(["advise 512 100"]);
});

test("drops a written range after eight more writes", async () => {
  const { it, said } = evictor();
  for (let at = 0n; at < 9n; at += 1n) await it.wrote(at, 1);
  expect(said.length).toBe(10);
  expect(said.at(-1)).toBe("advise 0 1");
});

test("drops all written ranges after a flush, once", async () => {
  const { it, said } = evictor();
  await it.wrote(0n, 1);
  await it.wrote(1n, 1);
  said.length = 0;
  await it.flushed();
  await it.flushed();
  expect(said).toEqual(["advise 0 1", "advise 1 1"]);
});

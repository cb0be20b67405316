/** A few sessions, the same each time, to this server and to nbdkit: for more of them there is main.ts. */
import { describe, expect, test } from "bun:test";

import { bytes, option } from "#test/client";
import { installed } from "#test/server";

import { differences } from "./differences.ts";
import { Pair } from "./pair.ts";
import { Search } from "./search.ts";
import { talk } from "./talk.ts";
import { pairWorld, pairWorlds } from "./worlds.ts";

const missing = ["nbdkit"].filter((name) => !installed(name));
const needs = missing.length > 0 ? ` (needs ${missing.join(", ")})` : "";

/** So many in each world take 20 seconds in all. */
const sessions = 25;
const seed = 20;

const few = [
  "memory/1M/bare/one",
  "memory/most/bare/many",
  "file/6G/bare/one",
  "null/1M/bare/readonly",
  "memory/1M/exportname-strict/no-sr",
  "memory/1M/offset-over-nozero/one",
  "memory/1M/error-of-reads/one",
  "memory/1M/bare/oldstyle",
  "memory/1M/bare/mask-0",
];

describe.skipIf(missing.length > 0)(`nbdkit and this server${needs}`, () => {
  test.each(few)(
    "say the same to the same clients: %s",
    async (name) => {
      const search = new Search();
      await using pair = await Pair.open(pairWorld(name));
      const found = await search.run(pair, seed, () => search.sessions < sessions);
      expect(found).toBeUndefined();
      expect(search.sessions).toBe(sessions);
    },
    60_000,
  );
});

test("worlds and differences have names of their own", () => {
  for (const names of [
    pairWorlds().map(({ world }) => world),
    differences.map(({ name }) => name),
  ]) {
    expect(names).toEqual([...new Set(names)]);
  }
});

test("what is cut off is told from what is complete", () => {
  const sent = bytes(3, option(99));
  const greeting = bytes("NBDMAGIC", "IHAVEOPT", [2, 3]);
  const said = bytes(greeting, 0x3e889045565a9n, 99, 0x80000001, 2, "no");
  const { asked, partial } = talk(sent, said, false);
  expect({ asked, partial }).toMatchObject({
    asked: [{ kind: "option", option: 99, complete: true, replies: [{ type: 0x80000001 }] }],
    partial: false,
  });
  expect(talk(sent, said.subarray(0, said.length - 1), false)).toMatchObject({ partial: true });
});

/** A few sessions, always the same, with this server and with nbdkit. main.ts plays more. */
import { describe, expect, test } from "bun:test";

import { bytes, option } from "#test/client";
import { installed } from "#test/server";

import { pairConfiguration, pairConfigurations } from "./configurations.ts";
import { parseConversation } from "./conversation.ts";
import { differences } from "./differences.ts";
import { Pair } from "./pair.ts";
import { Search } from "./search.ts";

const missing = ["nbdkit"].filter((name) => !installed(name));
const needs = missing.length > 0 ? ` (needs ${missing.join(", ")})` : "";

/** Sessions in each configuration. Together they take 20 seconds. */
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
    "give the same answers to the same clients: %s",
    async (name) => {
      const search = new Search();
      await using pair = await Pair.open(pairConfiguration(name));
      const found = await search.run(pair, seed, () => search.sessions < sessions);
      expect(found).toBeUndefined();
      expect(search.sessions).toBe(sessions);
    },
    60_000,
  );
});

test("the names of configurations and of differences are unique", () => {
  for (const names of [
    pairConfigurations().map(({ name }) => name),
    differences.map(({ name }) => name),
  ]) {
    expect(names).toEqual([...new Set(names)]);
  }
});

test("parseConversation distinguishes complete replies from partial ones", () => {
  const sent = bytes(3, option(99));
  const greeting = bytes("NBDMAGIC", "IHAVEOPT", [2, 3]);
  const output = bytes(greeting, 0x3e889045565a9n, 99, 0x80000001, 2, "no");
  const { exchanges, partial } = parseConversation(sent, output, false);
  expect({ exchanges, partial }).toMatchObject({
    exchanges: [{ kind: "option", option: 99, complete: true, replies: [{ type: 0x80000001 }] }],
    partial: false,
  });
  expect(parseConversation(sent, output.subarray(0, output.length - 1), false)).toMatchObject({
    partial: true,
  });
});

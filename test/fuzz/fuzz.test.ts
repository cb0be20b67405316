/** Plays the corpus in this process, then new scripts in another one, which may hang or crash without the tests. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { run } from "#test/server";

import { configurationNames } from "./configurations.ts";
import { Fuzzer } from "./fuzzer.ts";
import { format, parse } from "./script.ts";

const folder = join(import.meta.dirname, "corpus");

describe("the corpus", () => {
  let fuzzer: Fuzzer;
  beforeAll(async () => {
    fuzzer = await Fuzzer.open();
  });
  afterAll(async () => {
    await fuzzer[Symbol.asyncDispose]();
  });

  test.each(readdirSync(folder))(
    "%s is answered as it should be, by every server",
    async (name) => {
      const script = parse(readFileSync(join(folder, name), "utf8"));
      for (const configuration of configurationNames) {
        for (const verbose of [false, true]) {
          expect(await fuzzer.attempt({ ...script, configuration }, verbose)).toBeUndefined();
        }
      }
    },
  );
});

test("parse reads what format writes", () => {
  const text = "configuration later\nsend 00ff\ntake 5\ndrain\nturn\nend\n";
  expect(format(parse(text))).toBe(text);
  const long = {
    configuration: "plain",
    steps: [{ kind: "send", data: new Uint8Array(1000) }],
  } as const;
  expect(parse(format(long))).toEqual(long);
});

/** The limits of new scripts, whichever comes first. A quiet machine takes 20 seconds for the messages. */
const messages = 1_000_000;
const seconds = 90;
const socketSeconds = 12;

test(`a million messages, within ${seconds} seconds, and then some over sockets`, async () => {
  const command = [process.execPath, join(import.meta.dirname, "main.ts")];
  const limits = { seconds, messages, "socket-seconds": socketSeconds };
  const options = Object.entries(limits).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  const { code, stdout, stderr } = await run([...command, ...options], { timeoutMs: 170_000 });
  // The seed, and the number of messages.
  process.stderr.write(stdout);
  expect({ code, stderr, stdout: code === 0 ? "" : stdout }).toEqual({
    code: 0,
    stderr: "",
    stdout: "",
  });
}, 180_000);

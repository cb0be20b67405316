/** Random stacks of genuine filters above genuine plugins do the same in this server and in nbdkit. */
import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";

import { randomFrom } from "#test/random";
import { installed, program, run } from "#test/server";

import { filters, leftOut, randomStack, type Stack } from "./stack-recipes.ts";
import { session } from "./stack-session.ts";

/** STOCK_SEED=NUMBER chooses other stacks, and STOCK_STACKS=NUMBER how many. */
const seed = Number(process.env["STOCK_SEED"] ?? 1325);
const count = Number(process.env["STOCK_STACKS"] ?? 64);
const GROUP = 8;

/** TypeScript filters that replace genuine ones. cow is not one of them, since it offers more: see its manual. */
const typescript = ["offset", "partition", "delay", "error"];

const missing = ["nbdkit", "nbdsh"].filter((name) => !installed(name));
const needed = missing.length === 0 ? "" : ` (needs ${missing.join(", ")})`;

const commandLine = (stack: Stack) =>
  [...stack.filters.map((filter) => `--filter=${filter}`), stack.plugin, ...stack.params].join(" ");

type Named = (name: string, kind: "filter" | "plugin") => string;

/** Removes the names of TypeScript filters from error lines: nbdkit's do not have them. */
function unnamed<T>(seen: T): T {
  const filter = new RegExp(`(nbdkit: [^:]*: error: )(?:${typescript.join("|")}): `, "g");
  // The cast is correct: only parts of strings are removed.
  return JSON.parse(JSON.stringify(seen).replaceAll(filter, "$1")) as T;
}

/** Compares stacks in this server, with modules as `named`, with the same stacks in nbdkit. */
function compare(title: string, stacks: readonly Stack[], named: Named): void {
  for (let from = 0; from < stacks.length; from += GROUP) {
    const group = stacks.slice(from, from + GROUP);
    test.skipIf(missing.length > 0)(
      `${title}: ${from} to ${from + group.length - 1} of seed ${seed}${needed}`,
      async () => {
        const seen = [];
        for (const stack of group) {
          const [ours, genuine] = await Promise.all([
            session(program, stack, named),
            session(["nbdkit"], stack, (name) => name),
          ]);
          seen.push({ line: commandLine(stack), ours, genuine });
        }
        // A failure of both servers is not a success.
        expect(seen.filter(({ genuine }) => "failed" in genuine)).toEqual([]);
        expect(seen.map(({ line, ours }) => ({ line, seen: unnamed(ours) }))).toEqual(
          seen.map(({ line, genuine }) => ({ line, seen: genuine })),
        );
      },
      120_000,
    );
  }
}

const random = randomFrom(seed);
compare(
  "random stacks of genuine filters do the same as in nbdkit",
  Array.from({ length: count }, () => randomStack(random)),
  (name) => `native:${name}`,
);

compare(
  "random stacks of genuine and TypeScript filters do the same as in nbdkit",
  Array.from({ length: count / 4 }, (_, at) => randomStack(random, typescript[at % 4])),
  (name, kind) => (kind === "filter" && typescript.includes(name) ? name : `native:${name}`),
);

test.skipIf(!installed("nbdkit"))("each genuine filter is in a stack or left out", async () => {
  const { stdout } = await run(["nbdkit", "--dump-config"]);
  const folder = /^filterdir=(.*)$/m.exec(stdout)?.[1] ?? "";
  const names = readdirSync(folder).map((file) => file.replace(/^nbdkit-(.*)-filter\.so$/, "$1"));
  expect([...Object.keys(filters), ...Object.keys(leftOut)].toSorted()).toEqual(names.toSorted());
});

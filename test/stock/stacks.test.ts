/** Random stacks of genuine filters over genuine plugins do the same in this server and in nbdkit. */
import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";

import { installed, program, run } from "#test/server";

import { filters, leftOut, randomFrom, randomStack, type Stack } from "./stack-recipes.ts";
import { session } from "./stack-session.ts";

/** Other stacks with STOCK_SEED=NUMBER, and more with STOCK_STACKS=NUMBER. */
const seed = Number(process.env["STOCK_SEED"] ?? 1325);
const count = Number(process.env["STOCK_STACKS"] ?? 64);
const GROUP = 8;

const missing = ["nbdkit", "nbdsh"].filter((name) => !installed(name));
const needed = missing.length === 0 ? "" : ` (needs ${missing.join(", ")})`;

const random = randomFrom(seed);
const stacks = Array.from({ length: count }, () => randomStack(random));

const commandLine = ({ filters, plugin, params }: Stack) =>
  [...filters.map((filter) => `--filter=${filter}`), plugin, ...params].join(" ");

for (let from = 0; from < count; from += GROUP) {
  const group = stacks.slice(from, from + GROUP);
  test.skipIf(missing.length > 0)(
    `stacks ${from} to ${from + group.length - 1} of seed ${seed} do what they do in nbdkit${needed}`,
    async () => {
      const seen = [];
      for (const stack of group) {
        const [ours, genuine] = await Promise.all([
          session(program, stack, (name) => `native:${name}`),
          session(["nbdkit"], stack, (name) => name),
        ]);
        seen.push({ line: commandLine(stack), ours, genuine });
      }
      // Two equal failures are no success.
      expect(seen.filter(({ genuine }) => "failed" in genuine)).toEqual([]);
      expect(seen.map(({ line, ours }) => ({ line, seen: ours }))).toEqual(
        seen.map(({ line, genuine }) => ({ line, seen: genuine })),
      );
    },
    120_000,
  );
}

test.skipIf(!installed("nbdkit"))("each genuine filter is in stacks or left out", async () => {
  const { stdout } = await run(["nbdkit", "--dump-config"]);
  const folder = /^filterdir=(.*)$/m.exec(stdout)?.[1] ?? "";
  const names = readdirSync(folder).map((file) => file.replace(/^nbdkit-(.*)-filter\.so$/, "$1"));
  expect([...Object.keys(filters), ...Object.keys(leftOut)].toSorted()).toEqual(names.toSorted());
});

/** generations.gen.ts against what nbdkit's releases do: which facts hold from which generation on. */
import { describe, expect, test } from "bun:test";

import { type Generation, generationIds, generations } from "#abi/generated/generations.gen";

/** The answers in order of time, each with the first and the last generation that gives it. */
const facts: Readonly<Record<keyof Generation & string, string>> = {
  number: "",
  filter: "",
  nextOps: "",
  adapter: "",
  structSize: "true S-A, false B-M",
  versionString: "false S-E, true F0-M",
  threadModelField: "false S-S, true A-D, false E-M",
  hasErr: "false S-A, true B-M",
  triStateZero: "false S-E, true F0-M",
  openForm: "readonly S-S, next A-g1, export-name g2-g3, tls H-M",
  listExportsForm: "none S-g2, default-only g3-H, is-tls I-M",
  reopenForm: "none S-F0, readonly F-g1, export-name g2-I, none i1-M",
  ownContexts: "false S-I, true i1-M",
};

function ranges(fact: keyof Generation): string {
  const runs: { value: string; first: string; last: string }[] = [];
  for (const id of generationIds) {
    const value = String(generations[id][fact]);
    const run = runs.at(-1);
    if (run?.value === value) run.last = id;
    else runs.push({ value, first: id, last: id });
  }
  return runs.map(({ value, first, last }) => `${value} ${first}-${last}`).join(", ");
}

describe("generations.gen.ts", () => {
  test.each(Object.entries(facts).filter(([, expected]) => expected !== ""))(
    "knows %s: %s",
    (fact, expected) => {
      // The keys of `facts` are those of Generation, by its type.
      expect(ranges(fact as keyof Generation)).toBe(expected);
    },
  );

  test("has numbers in order of time with room between, and adapters of their own", () => {
    const numbers = generationIds.map((id) => generations[id].number);
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    for (const [index, number] of numbers.slice(1).entries()) {
      expect(number - (numbers[index] ?? 0)).toBeGreaterThan(1);
    }
    expect(new Set(generationIds.map((id) => generations[id].adapter)).size).toBe(20);
  });
});

/** Compares releases.gen.ts with nbdkit's releases: which facts hold since which layout. */
import { describe, expect, test } from "bun:test";

import { type Release, releaseIds, releases } from "#abi/generated/releases.gen";

/** The values in order of time, each with the first and the last layout that has it. */
const facts: Readonly<Record<keyof Release & string, string>> = {
  number: "",
  filter: "",
  nextOps: "",
  adapter: "",
  structSize: "true original-1.2, false from 1.4",
  versionString: "false original-1.14, true from 1.15.1",
  threadModelField: "false original-original, true 1.2-1.12, false from 1.14",
  hasErr: "false original-1.2, true from 1.4",
  triStateZero: "false original-1.14, true from 1.15.1",
  openForm:
    "readonly original-original, next 1.2-1.21.12, export-name 1.21.20-1.21.22, tls from 1.22",
  reopenForm:
    "none original-1.15.1, readonly 1.16-1.21.12, export-name 1.21.20-1.24, none from 1.25.4",
  ownContexts: "false original-1.24, true from 1.25.4",
};

function ranges(fact: keyof Release): string {
  const runs: { value: string; first: string; last: string }[] = [];
  for (const id of releaseIds) {
    const value = String(releases[id][fact]);
    const run = runs.at(-1);
    if (run?.value === value) run.last = id;
    else runs.push({ value, first: id, last: id });
  }
  return runs
    .map((run) =>
      run === runs.at(-1)
        ? `${run.value} from ${run.first}`
        : `${run.value} ${run.first}-${run.last}`,
    )
    .join(", ");
}

describe("releases.gen.ts", () => {
  test.each(Object.entries(facts).filter(([, expected]) => expected !== ""))(
    "has %s: %s",
    (fact, expected) => {
      // The keys of `facts` are those of Release, by its type.
      expect(ranges(fact as keyof Release)).toBe(expected);
    },
  );

  test("has numbers in order of time, with gaps, and one adapter for each layout", () => {
    const numbers = releaseIds.map((id) => releases[id].number);
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    for (const [index, number] of numbers.slice(1).entries()) {
      expect(number - (numbers[index] ?? 0)).toBeGreaterThan(1);
    }
    expect(new Set(releaseIds.map((id) => releases[id].adapter)).size).toBe(releaseIds.length);
  });
});

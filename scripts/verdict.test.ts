/** Tests of the totals: what counts as failed, here and in CI. */
import { expect, test } from "bun:test";

import type { TestResult } from "./junit.ts";
import { judge, sharedLabels, unsteadyTests } from "./verdict.ts";

const results: readonly TestResult[] = [
  { file: "a.test.ts", name: "works", outcome: "passed" },
  { file: "a.test.ts", name: "breaks", outcome: "failed" },
  { file: "b.test.ts", name: "needs luks", outcome: "skipped" },
  { file: "b.test.ts", name: "needs a kernel", outcome: "skipped" },
];

test("counts the outcomes and names the tests that did not pass", () => {
  expect(judge(results, [])).toEqual({
    passed: 1,
    failed: 1,
    skipped: 2,
    lines: [
      "FAILED  a.test.ts: breaks",
      "skipped b.test.ts: needs a kernel",
      "skipped b.test.ts: needs luks",
    ],
  });
});

test("counts a skip as failed if it is not allowed", () => {
  const allowed = [{ text: "needs a kernel", why: "containers have none of their own" }];
  expect(judge(results, [], allowed)).toEqual({
    passed: 1,
    failed: 2,
    skipped: 1,
    lines: [
      "FAILED  a.test.ts: breaks",
      "FAILED  b.test.ts: needs luks: skipped, which CI does not allow",
      "skipped b.test.ts: needs a kernel (containers have none of their own)",
    ],
  });
});

test("counts failures outside tests", () => {
  expect(judge([], ["no test ran"])).toEqual({
    passed: 0,
    failed: 1,
    skipped: 0,
    lines: ["FAILED  no test ran"],
  });
});

test("a failed test that passes in the second run is unsteady", () => {
  const second: readonly TestResult[] = [
    { file: "a.test.ts", name: "works", outcome: "passed" },
    { file: "a.test.ts", name: "breaks", outcome: "passed" },
  ];
  expect([...unsteadyTests(results, second)]).toEqual(["a.test.ts: breaks"]);
});

test.each(["failed", "skipped"] as const)(
  "a failed test that is %s in the second run is not unsteady",
  (outcome) => {
    const second: readonly TestResult[] = [{ file: "a.test.ts", name: "breaks", outcome }];
    expect([...unsteadyTests(results, second)]).toEqual([]);
  },
);

test("a failed test is not unsteady if only a test of the same name passes", () => {
  const twins: readonly TestResult[] = [
    { file: "a.test.ts", name: "twin", outcome: "passed" },
    { file: "a.test.ts", name: "twin", outcome: "failed" },
  ];
  expect([...unsteadyTests(twins, twins)]).toEqual([]);
  const second = twins.map((it) => ({ ...it, outcome: "passed" as const }));
  expect([...unsteadyTests(twins, second)]).toEqual(["a.test.ts: twin"]);
});

test("reports a name that tests of one file share", () => {
  const twin: TestResult = { file: "a.test.ts", name: "works", outcome: "passed" };
  expect(sharedLabels([...results, twin, { ...twin, file: "b.test.ts" }])).toEqual([
    "a.test.ts: works: 2 tests have this name",
  ]);
});

/** Tests of the totals: what counts as failed, here and in CI. */
import { expect, test } from "bun:test";

import type { TestResult } from "./junit.ts";
import { judge } from "./verdict.ts";

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

/** Turns test results into totals and the lines that explain them; finds unsteady tests and shared names. */
import type { TestResult } from "./junit.ts";

export interface AllowedSkip {
  /** A part of the test's file and name, joined by ": ". */
  readonly text: string;
  readonly why: string;
}

export interface Verdict {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly lines: readonly string[];
}

/**
 * The totals of `results`. Each entry of `otherFailures` also counts as failed. If `allowedSkips`
 * is given, any other skip is a failure.
 */
export function judge(
  results: readonly TestResult[],
  otherFailures: readonly string[],
  allowedSkips?: readonly AllowedSkip[],
): Verdict {
  const lines: string[] = [];
  let passed = 0;
  let failed = 0;
  let skipped = 0;
  for (const result of results) {
    const { outcome } = result;
    const label = labelOf(result);
    const allowed = allowedSkips?.find(({ text }) => label.includes(text));
    if (outcome === "passed") {
      passed++;
    } else if (outcome === "failed") {
      failed++;
      lines.push(`FAILED  ${label}`);
    } else if (allowedSkips === undefined || allowed !== undefined) {
      skipped++;
      lines.push(`skipped ${label}${allowed === undefined ? "" : ` (${allowed.why})`}`);
    } else {
      failed++;
      lines.push(`FAILED  ${label}: skipped, which CI does not allow`);
    }
  }
  for (const failure of otherFailures) lines.push(`FAILED  ${failure}`);
  return { passed, failed: failed + otherFailures.length, skipped, lines: lines.toSorted() };
}

/**
 * The labels of failed tests that passed in a second run of their files. A label that several tests share is among
 * them only if all of these tests passed there.
 */
export function unsteadyTests(
  results: readonly TestResult[],
  second: readonly TestResult[],
): Set<string> {
  const tests = countLabels(results);
  const passes = countLabels(second.filter(({ outcome }) => outcome === "passed"));
  const failed = results.filter(({ outcome }) => outcome === "failed").map(labelOf);
  return new Set(failed.filter((label) => passes.get(label) === tests.get(label)));
}

/** One line for each label that several tests share: the results of such tests cannot be told apart. */
export function sharedLabels(results: readonly TestResult[]): string[] {
  return [...countLabels(results)]
    .filter(([, count]) => count > 1)
    .map(([label, count]) => `${label}: ${count} tests have this name`);
}

export function labelOf({ file, name }: TestResult): string {
  return `${file}: ${name}`;
}

function countLabels(results: readonly TestResult[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const label of results.map(labelOf)) counts.set(label, (counts.get(label) ?? 0) + 1);
  return counts;
}

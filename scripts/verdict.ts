/** Turns test results into totals and the lines that explain them. */
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
  for (const { file, name, outcome } of results) {
    const label = `${file}: ${name}`;
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

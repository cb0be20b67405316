/** The whole check: the gates, cheapest first, then every test; ends with one line of totals. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { installPackages, missingPackages, testPackages } from "./debian.ts";
import { readJunit, type TestResult } from "./junit.ts";
import { prepareSanitizer, type Sanitizer } from "./sanitizer.ts";
import { type AllowedSkip, judge, labelOf, sharedLabels, unsteadyTests } from "./verdict.ts";

/** The skips that CI allows, each with its reason. Every other skip is a failure there. */
const allowedSkips: readonly AllowedSkip[] = [
  { text: "(needs a loop device)", why: "containers have none, and /dev is the machine's" },
];

/** Tests that also run under the address sanitizer. `--sanitize=address` alone runs all that load C modules. */
const sanitizedTests = {
  few: [
    "test/abi/mixed.test.ts",
    "test/tls/debug.test.ts",
    ...["blocksize", "cache", "cow", "extentlist", "log", "multi-conn", "retry"].map(
      (name) => `test/stock/filters/${name}.test.ts`,
    ),
    ...["eval", "memory", "split"].map((name) => `test/stock/plugins/${name}.test.ts`),
  ],
  all: ["examples", "test/abi", "test/e2e", "test/stock", "test/tls"],
};

const gates: Readonly<Record<string, readonly string[]>> = {
  format: ["fmt", "--check"],
  types: ["check"],
  lint: ["run", "lint"],
  "generated files": ["run", "codegen", "--check"],
  "dead code": ["run", "dead"],
};

const TEST_TIMEOUT_MS = 30_000;
/** If more tests fail than this, the machine is not the cause. */
const MOST_TRIED_AGAIN = 10;
/** A test's own timeout cannot interrupt native code that hangs. */
const TESTS_DEADLINE_MS = 25 * 60_000;
const GATE_DEADLINE_MS = 5 * 60_000;

const root = join(import.meta.dirname, "..");

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    // CI must not fail because of a new order: use other orders to search for mistakes.
    seed: { type: "string", default: "1" },
    "no-install": { type: "boolean", default: false },
    /** `address`: compile the native runtime with this sanitizer. */
    sanitize: { type: "string" },
  },
});

const seed = values.seed === "random" ? String(Math.floor(Math.random() * 2 ** 31)) : values.seed;

process.exitCode = await main();

async function main(): Promise<number> {
  if (values.sanitize !== undefined && values.sanitize !== "address") {
    say(
      `--sanitize=${values.sanitize}: only address is there; test/abi/sanitize.test.ts has others`,
    );
    return 1;
  }
  preparePackages();
  const { failures, results } = await runWhatIsWanted();
  const ci = process.env["CI"] === "true" || process.env["CI"] === "1";
  const verdict = judge(results, failures, ci ? allowedSkips : undefined);
  for (const line of verdict.lines) say(line);
  say(`${verdict.passed} passed, ${verdict.failed} failed, ${verdict.skipped} skipped`);
  return verdict.failed > 0 ? 1 : 0;
}

interface Run {
  /** Failures outside any test. */
  readonly failures: readonly string[];
  readonly results: readonly TestResult[];
}

async function runWhatIsWanted(): Promise<Run> {
  const named = positionals.length > 0;
  if (values.sanitize !== undefined) {
    return await runSanitized(named ? positionals : sanitizedTests.all);
  }
  // With paths only the tests in them run.
  if (named) return await runTests();
  const runs = [
    { failures: await runGates(), results: [] },
    await runTests(),
    await runSanitized(sanitizedTests.few),
  ];
  return {
    failures: runs.flatMap((run) => run.failures),
    results: runs.flatMap((run) => run.results),
  };
}

function preparePackages(): void {
  const wanted = Object.keys(testPackages);
  const missing = values["no-install"] ? missingPackages(wanted) : installPackages(wanted, say);
  for (const name of missing) {
    say(`Debian's ${name} is not installed: skipping ${testPackages[name] ?? "what needs it"}`);
  }
}

async function runGates(): Promise<string[]> {
  const failed: string[] = [];
  for (const [name, args] of Object.entries(gates)) {
    const command = `bun ${args.join(" ")}`;
    say(`== ${name}: ${command}`);
    const end = await bun(args, GATE_DEADLINE_MS);
    if (end !== "status 0") failed.push(`${name}: \`${command}\` ended with ${end}`);
  }
  return failed;
}

async function runTests(): Promise<Run> {
  const paths = positionals.length > 0 ? ` ${positionals.join(" ")}` : "";
  say(`== tests: to repeat this order: npm test -- --seed=${seed}${paths}`);
  const { end, results } = await bunTest(positionals);
  if (results === undefined) {
    return { failures: [`bun test left no results: it ended with ${end}`], results: [] };
  }
  const failures = outsideTests(results, end);
  const failed = results.filter(({ outcome }) => outcome === "failed");
  if (failed.length === 0 || failed.length > MOST_TRIED_AGAIN) return { failures, results };
  return { failures, results: await triedAgain(results, failed) };
}

/**
 * Thousands of tests start servers and clients in parallel, and a busy machine may starve one of
 * them. Therefore the file of a failed test runs once more on its own. A test that then passes is
 * reported as unsteady.
 */
async function triedAgain(
  results: readonly TestResult[],
  failed: readonly TestResult[],
): Promise<TestResult[]> {
  const files = [...new Set(failed.map(({ file }) => file))];
  say(`== tests: once more: ${files.join(" ")}`);
  const second = (await bunTest(files)).results ?? [];
  const unsteady = unsteadyTests(results, second);
  return results.map((result) => {
    const label = labelOf(result);
    if (result.outcome !== "failed" || !unsteady.has(label)) return result;
    say(`unsteady ${label}: it failed, and passed when it was run again`);
    return { ...result, outcome: "passed" };
  });
}

/** A report fails the test in which it occurs, and no test is run again. */
async function runSanitized(paths: readonly string[]): Promise<Run> {
  say(`== tests under the sanitizer: npm test -- --sanitize=address ${paths.join(" ")}`);
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-sanitizer-"));
  const named = (name: string) => `${name} (address sanitizer)`;
  try {
    const { end, results } = await bunTest(paths, prepareSanitizer(folder));
    if (results === undefined) {
      return { failures: [`bun test left no results: it ended with ${end}`], results: [] };
    }
    const explained = end === "status 0" || results.some(({ outcome }) => outcome === "failed");
    return {
      failures: explained ? [] : [`bun test under the sanitizer ended with ${end}`],
      results: results.map((it) => ({ ...it, name: named(it.name) })),
    };
  } catch (error) {
    say(String(error));
    const name = named("the native runtime (needs cc with -fsanitize=address)");
    return { failures: [], results: [{ file: "scripts/sanitizer.ts", name, outcome: "skipped" }] };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Run the tests in `paths`, or all. The results are undefined if Bun wrote none. */
async function bunTest(
  paths: readonly string[],
  sanitizer?: Sanitizer,
): Promise<{ end: string; results: TestResult[] | undefined }> {
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-tests-"));
  try {
    const report = join(folder, "junit.xml");
    const order = ["--randomize", `--seed=${seed}`];
    const reporter = ["--reporter=junit", `--reporter-outfile=${report}`];
    const preload = sanitizer === undefined ? [] : ["--preload", sanitizer.preload];
    const end = await bun(
      ["test", `--timeout=${TEST_TIMEOUT_MS}`, ...preload, ...order, ...reporter, ...paths],
      TESTS_DEADLINE_MS,
      sanitizer,
    );
    const file = Bun.file(report);
    const results = (await file.exists()) ? readJunit(await file.text()) : undefined;
    return { end, results };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A file that fails to load has no results, so none of its tests counts as failed. */
function outsideTests(results: readonly TestResult[], end: string): string[] {
  const failures: string[] = [];
  if (positionals.length === 0) {
    const seen = new Set(results.map((result) => result.file));
    const files = [...new Bun.Glob("**/*.test.ts").scanSync({ cwd: root })]
      .filter((path) => !path.startsWith("node_modules/"))
      .toSorted();
    failures.push(
      ...files.filter((path) => !seen.has(path)).map((path) => `${path}: no test of it ran`),
    );
  }
  if (results.every((result) => result.outcome === "skipped")) failures.push("no test ran");
  const explained = failures.length > 0 || results.some((result) => result.outcome === "failed");
  if (end !== "status 0" && !explained) failures.push(`bun test ended with ${end}`);
  failures.push(...sharedLabels(results));
  return failures;
}

/** Run this Bun with `args` and return how it ended. */
async function bun(
  args: readonly string[],
  deadlineMs: number,
  sanitizer?: Sanitizer,
): Promise<string> {
  const child = Bun.spawn([...(sanitizer?.prefix ?? []), process.execPath, ...args], {
    cwd: root,
    env: {
      ...process.env,
      // Disable colours, which some tools print if CI is set.
      ...(process.stdout.isTTY ? {} : { NO_COLOR: "1" }),
      ...sanitizer?.env,
    },
    stdio: ["ignore", "inherit", "inherit"],
    timeout: deadlineMs,
    killSignal: "SIGKILL",
  });
  await child.exited;
  if (child.signalCode === null) return `status ${child.exitCode}`;
  const late = child.signalCode === "SIGKILL" ? `, perhaps after ${deadlineMs / 60_000} min` : "";
  return `signal ${child.signalCode}${late}`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** How the command line is split into options and arguments. Nothing is started. */
import { describe, expect, test } from "bun:test";

import { splitArguments, usage } from "../../src/cli/arguments.ts";
import { longOptions, options, shortOptions, spellings } from "../../src/cli/options.ts";

/** Options such as `[["unix", "-"], ["verbose", ""]]` and the other arguments, or the problem. */
function split(...argv: string[]) {
  const { options: given, operands, problem } = splitArguments(argv);
  if (problem !== undefined) return problem;
  return { given: given.map(({ option, value }) => [option.name, value]), operands };
}

describe("splitArguments", () => {
  test("accepts options before, between and after arguments", () => {
    expect(split("-f", "memory", "-r", "1M", "--verbose")).toEqual({
      given: [
        ["foreground", ""],
        ["readonly", ""],
        ["verbose", ""],
      ],
      operands: ["memory", "1M"],
    });
  });

  test("stops at the first argument if POSIXLY_CORRECT is set", () => {
    const { options: given, operands } = splitArguments(["-f", "null", "-r", "--", "x"], {
      POSIXLY_CORRECT: "",
    });
    expect(given.map(({ option }) => option.name)).toEqual(["foreground"]);
    expect(operands).toEqual(["null", "-r", "--", "x"]);
  });

  test("stops at --", () => {
    expect(split("-f", "sh", "--", "-v", "--run", "x=1")).toEqual({
      given: [["foreground", ""]],
      operands: ["sh", "-v", "--run", "x=1"],
    });
  });

  test("treats - and an empty string as arguments", () => {
    expect(split("sh", "-", "")).toEqual({ given: [], operands: ["sh", "-", ""] });
  });

  test("keeps the values of a repeated option in order", () => {
    expect(split("--filter=a", "--filter", "b", "null")).toEqual({
      given: [
        ["filter", "a"],
        ["filter", "b"],
      ],
      operands: ["null"],
    });
  });

  test.each([
    { argv: ["-p", "10810"], given: ["port", "10810"] },
    { argv: ["-p10810"], given: ["port", "10810"] },
    { argv: ["--port", "10810"], given: ["port", "10810"] },
    { argv: ["--port=10810"], given: ["port", "10810"] },
    { argv: ["-U", "-"], given: ["unix", "-"] },
    { argv: ["-U-"], given: ["unix", "-"] },
    { argv: ["--unix=-"], given: ["unix", "-"] },
    { argv: ["-e", ""], given: ["exportname", ""] },
    { argv: ["--export="], given: ["exportname", ""] },
    { argv: ["-e", "-v"], given: ["exportname", "-v"] },
    { argv: ["-e", "--"], given: ["exportname", "--"] },
    { argv: ["--run", "--thr"], given: ["run", "--thr"] },
    { argv: ["--run=a=b --c=d"], given: ["run", "a=b --c=d"] },
    { argv: ["--run", "two\nlines"], given: ["run", "two\nlines"] },
  ])("reads an option with its value: $argv", ({ argv, given }) => {
    expect(split(...argv, "null")).toEqual({ given: [[...given]], operands: ["null"] });
  });

  test("accepts letters written together, the last one with its value", () => {
    expect(split("-fvU", "-", "-rp1", "null")).toEqual({
      given: [
        ["foreground", ""],
        ["verbose", ""],
        ["unix", "-"],
        ["readonly", ""],
        ["port", "1"],
      ],
      operands: ["null"],
    });
  });

  const all = options.flatMap((option) => {
    const takesValue = option.value !== undefined;
    return spellings(option).map((spelling) => ({ spelling, name: option.name, takesValue }));
  });

  test.each(all)("reads $spelling as $name", ({ spelling, name, takesValue }) => {
    const value = takesValue ? ["x"] : [];
    expect(split(spelling, ...value, "null")).toEqual({
      given: [[name, value[0] ?? ""]],
      operands: ["null"],
    });
  });

  test.each([
    ["--dump-p", "dump-plugin", ""],
    ["--dump-c", "dump-config", ""],
    ["--verb", "verbose", ""],
    ["--vers", "version", ""],
    ["--he", "help", ""],
    ["--th=3", "threads", "3"],
    ["--no-f", "foreground", ""],
    ["--pid-=x", "pidfile", "x"],
    ["--ru=true", "run", "true"],
    // Both possible names mean the same option.
    ["--export-=", "exportname", ""],
    ["--reado", "readonly", ""],
    ["--read", "readonly", ""],
    // nbdkit has no --filter-release, so --fil stays unambiguous.
    ["--fil=a", "filter", "a"],
    ["--filter-r=a=1.2", "filter-release", "a=1.2"],
  ])("reads the abbreviation %s as %s", (spelling, name, value) => {
    expect(split(spelling, "null")).toEqual({ given: [[name, value]], operands: ["null"] });
  });

  test.each([
    [["--foo", "null"], "unknown option '--foo'"],
    [["-x", "null"], "unknown option '-x'"],
    [["-fx", "null"], "unknown option '-x'"],
    [["null", "-1"], "unknown option '-1'"],
    [["-f=3", "null"], "unknown option '-=3'"],
    [["--foreground=1"], "option '--foreground' takes no value"],
    [["null", "-p"], "option '-p, --port <PORT>' argument missing"],
    [["null", "--run"], "option '--run <COMMAND>' argument missing"],
    [
      ["--d", "null"],
      "option '--d' is ambiguous: it may mean -D/--debug, --dump-config, --dump-plugin",
    ],
    [
      ["--dump-=1", "null"],
      "option '--dump-' is ambiguous: it may mean --dump-config, --dump-plugin",
    ],
  ])("refuses %j", (argv, problem) => {
    expect(split(...argv)).toBe(problem);
  });

  test("keeps options before an error and ignores later ones", () => {
    const { options: given, operands, problem } = splitArguments(["-v", "null", "--foo", "-r"]);
    expect({ names: given.map(({ option }) => option.name), operands, problem }).toEqual({
      names: ["verbose"],
      operands: [],
      problem: "unknown option '--foo'",
    });
  });
});

test("no two options share a spelling", () => {
  const names = options.flatMap(spellings);
  expect(names.toSorted()).toEqual([...new Set(names)].toSorted());
});

test("--help lists every option once, and nothing else", () => {
  const offered = [...usage().matchAll(/^ {2}(?:-(\w), )?--([a-z0-9-]+)/gm)].map((m) => m[2]);
  expect(offered).toEqual(options.map(({ name }) => name));
});

test("--long-options and --short-options list the options", () => {
  expect(longOptions().split("\n")).toContain("--no-fork");
  expect(longOptions()).not.toContain("-options");
  const letters = options.flatMap(({ letter }) => letter ?? []);
  expect(shortOptions().split("\n")).toEqual([...letters.toSorted().map((l) => `-${l}`), ""]);
});

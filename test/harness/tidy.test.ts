/** The tidy checks themselves: each on a small text that must fail and one that must pass. */
import { describe, expect, test } from "bun:test";

import {
  benchSections,
  codeLines,
  deadLinks,
  deadSections,
  isPacked,
  linkTargets,
  timesOfPhrase,
  unjustifiedLimits,
  unpackedLinks,
  wideComments,
  wideProse,
  withoutCode,
} from "#test/tidy";

const fits = "word ".repeat(24).trimEnd() + ".";
const wide = `${fits} x`;

test("the test lines are as wide as they must be", () => {
  expect([fits.length, wide.length]).toEqual([120, 122]);
});

describe("wideProse", () => {
  test("reports the line and the width of a wide paragraph and list item", () => {
    expect(wideProse(`# Title\n\n${wide}\n\n- ${fits}\n`)).toEqual(["3: 122", "5: 122"]);
  });

  test("accepts 120 columns", () => {
    expect(wideProse(`# Title\n\n${fits}\n`)).toEqual([]);
  });

  test("ignores tables, headings, fenced code and targets of links", () => {
    const link = `[manual](docs/${"x".repeat(120)}.md)`;
    expect(wideProse(`# ${wide}\n\n| ${wide} |\n\n\`\`\`sh\n${wide}\n\`\`\`\n\n${link}\n`)).toEqual(
      [],
    );
  });

  test("counts code spans", () => {
    expect(wideProse(`${fits} \`x\``)).toEqual(["1: 124"]);
  });
});

describe("wideComments", () => {
  test.each([
    ["a line comment", `// ${wide}`],
    ["a doc comment", `/** ${wide} */`],
    ["a line of a block", ` * ${wide}`],
    ["a comment behind code", `let x = 1; // ${wide}`],
    ["a comment of a script", `# ${wide}`],
  ])("reports %s", (_, line) => {
    expect(wideComments(`let a;\n${line}\n`)).toEqual([`2: ${line.length}`]);
  });

  test.each([
    ["a comment of 120 columns", `// ${fits.slice(3)}`],
    ["a long string", `const x = "${wide}";`],
    ["a long directive", `#error "${wide}"`],
    ["a comment with a URL", `// https://example.org/${"x".repeat(120)}`],
  ])("ignores %s", (_, line) => {
    expect(wideComments(line)).toEqual([]);
  });
});

describe("linkTargets", () => {
  test("resolves links from the folder of the manual, without their anchors", () => {
    expect(linkTargets("docs/a.md", "[b](b.md#x) [c](../c/) [d](../d/e.md)")).toEqual([
      "docs/b.md",
      "c",
      "d/e.md",
    ]);
  });

  test("ignores URLs, anchors of the page itself, and code", () => {
    expect(linkTargets("a.md", "[b](https://x.org/b.md) [c](#c) `[d](d.md)`")).toEqual([]);
  });
});

test("deadLinks reports only links that lead to no file", () => {
  const exists = (path: string) => path === "docs/b.md";
  expect(deadLinks("docs/a.md", "[b](b.md#x) [c](c.md) [d](https://x.org)", exists)).toEqual([
    "docs/c.md",
  ]);
});

describe("deadSections", () => {
  const b =
    "# B\n\n## Two words\n\n```sh\n# no heading\n```\n\n### `-x`, `--long`\n\n## Two words\n";
  const dead = (text: string) =>
    deadSections("docs/a.md", `${text}\n\n## Own part\n`, (path) =>
      path === "docs/b.md" ? b : undefined,
    );

  test.each([
    ["a heading of another file", "[b](b.md#two-words)"],
    ["the second of two equal headings", "[b](b.md#two-words-1)"],
    ["a heading with code spans", "[b](b.md#-x---long)"],
    ["a heading of the page itself", "[a](#own-part)"],
    ["a heading by its name", 'see "Two words" in\n[b](b.md), and "Own part" below'],
    ["a file that is no manual", "[c](c.ts#L5)"],
    ["another site", "[x](https://x.org/#y)"],
    ["code", "`[b](#none)`"],
  ])("accepts a link to %s", (_, text) => {
    expect(dead(text)).toEqual([]);
  });

  test.each([
    ["b.md#three", "[b](b.md#three)"],
    ["b.md#two-words-2", "[b](b.md#two-words-2)"],
    ["b.md#no-heading", "[b](b.md#no-heading)"],
    ["c.md#x", "[c](c.md#x)"],
    ["#two-words", "[a](#two-words)"],
    ['b.md "Three"', 'see "Three" in [b](b.md)'],
    ['"Three"', '"Three" above'],
  ])("reports %s", (target, text) => {
    expect(dead(text)).toEqual([target]);
  });
});

describe("isPacked", () => {
  const patterns = ["docs/", "scripts/pkg.mjs", "GUIDE.md", "!**/*.test.ts"];

  test.each(["docs/a.md", "docs", "docs/deep/b.ts", "scripts/pkg.mjs", "GUIDE.md", "README.md"])(
    "packs %s",
    (path) => {
      expect(isPacked(path, patterns)).toBe(true);
    },
  );

  test.each(["docs/a.test.ts", "scripts/test.ts", "scripts", "docs.md", "bench/README.md"])(
    "leaves out %s",
    (path) => {
      expect(isPacked(path, patterns)).toBe(false);
    },
  );
});

describe("unpackedLinks", () => {
  const patterns = ["docs/"];

  test("reports a link of a packed manual to a file outside the package", () => {
    const text = "[a](b.md) [b](../test/c.ts)";
    expect(unpackedLinks("docs/a.md", text, patterns)).toEqual(["test/c.ts"]);
  });

  test("accepts any link of a manual outside the package", () => {
    expect(unpackedLinks("bench/README.md", "[b](../test/c.ts)", patterns)).toEqual([]);
  });

  test("accepts absolute links", () => {
    expect(unpackedLinks("docs/a.md", "[b](https://x.org/c.ts)", patterns)).toEqual([]);
  });
});

describe("timesOfPhrase", () => {
  test.each([
    ["in any case of letters", "Nobody reads it, nobody.", "nobody", 2],
    ["over the end of a line", "of a size\nof   which", "of which", 1],
    ["over the end of a line of a comment", "   * tell\n   * of it", "tell of", 1],
    ["in a comment of C++", "// also\n  // where", "also where", 1],
    ["at the end of a name of a test", 'test("waits for nobody", x)', "nobody", 1],
  ])("finds a phrase %s", (_, text, phrase, times) => {
    expect(timesOfPhrase(text, phrase)).toBe(times);
  });

  test.each([
    ["a part of a word", "shallow", "shall"],
    ["a code span", "the user `nobody`", "nobody"],
    ["a string that is the word", 'user: "nobody"', "nobody"],
    ["a parameter", "user=nobody group=nobody", "nobody"],
    ["another order", "which of", "of which"],
  ])("ignores %s", (_, text, phrase) => {
    expect(timesOfPhrase(text, phrase)).toBe(0);
  });
});

test("withoutCode keeps the numbers of lines", () => {
  expect(withoutCode("a `b`\n```\nc\n```\nd")).toBe("a \n\n\n\nd");
});

test("codeLines counts lines that are neither blank nor comments", () => {
  const code = '/** Doc\n * more\n */\n// line\n\nlet x = 1; // why\n#include "a.h"\n# comment\n';
  expect(codeLines(code)).toBe(2);
});

describe("unjustifiedLimits", () => {
  test("reports numbers without a justification directly above", () => {
    const typescript =
      "/** Why. choice: patience. */\n\nexport const first = 1;\nexport const second = 2 << 10;\n";
    expect(unjustifiedLimits(typescript)).toEqual(["first", "second"]);
    expect(unjustifiedLimits("/* Why. */\n#define FIRST 1\n")).toEqual(["FIRST"]);
    expect(unjustifiedLimits("#ifndef A_H\n#define A_H\n")).toEqual([]);
  });

  test("does not take the justification of the number before", () => {
    const code = "/** source: pipe(7). */\nexport const a = 1;\n/** Why. */\nexport const b = 2;\n";
    expect(unjustifiedLimits(code)).toEqual(["b"]);
  });

  test("accepts a section of bench/README.md, a source and a choice", () => {
    const typescript =
      '/** Why. bench: "Limits". */\nexport const first = 1;\n/**\n * source: pipe(7).\n */\nexport const second = 2;';
    expect(unjustifiedLimits(typescript)).toEqual([]);
    expect(unjustifiedLimits("/* Why.\n * choice: patience. */\n#define FIRST 1\n")).toEqual([]);
  });
});

test("benchSections finds sections, even over the end of a line", () => {
  const code = '/** Why. bench: "Holes". */\n/**\n * Why. bench: "Two\n * clients", row 1.\n */\n';
  expect(benchSections(code)).toEqual(["Holes", "Two clients"]);
});

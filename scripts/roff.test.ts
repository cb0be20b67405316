/** Tests of the conversion from Markdown to man(7). */
import { describe, expect, test } from "bun:test";

import { manPage } from "./roff.ts";

const page = { name: "nbdkit-x-filter", section: 1, version: "9.8.7" } as const;
const pageOf = (href: string) => (href.startsWith("../") ? "nbdkit-cow-filter(1)" : undefined);

/** The lines of the section Description. */
function described(markdown: string): string[] {
  const manual = `# nbdkit-x-filter\n\nDo it.\n\n## Description\n\n${markdown}\n`;
  const text = manPage(manual, page, pageOf);
  return text.slice(text.indexOf(".SH DESCRIPTION\n")).trimEnd().split("\n").slice(1);
}

test("a page has a title, a name, and the sections of the manual", () => {
  const manual =
    "# nbdkit-x-filter\n\nDo this,\nor that. Not more.\n\n## Synopsis\n\n    nbdkit x\n\n## Description\n\nText.\n";
  expect(manPage(manual, page, pageOf)).toBe(
    [
      '.TH NBDKIT-X-FILTER 1 "" "nbdkit 9.8.7" nbdkit',
      ".nh",
      ".ad l",
      ".SH NAME",
      String.raw`nbdkit\-x\-filter \- Do this, or that`,
      ".SH SYNOPSIS",
      ".in +4n",
      ".nf",
      "nbdkit x",
      ".fi",
      ".in",
      ".SH DESCRIPTION",
      "Not more.",
      ".PP",
      "Text.",
      "",
    ].join("\n"),
  );
});

test("a manual with another title is refused", () => {
  expect(() => manPage("# y\n\nDo it.\n\n## A\n", page, pageOf)).toThrow("is titled y");
});

describe("in running text", () => {
  test.each([
    ["fonts", "*a* **b** `c`", String.raw`\fIa\fR \fBb\fR \fBc\fR`],
    ["dashes and backslashes", "-f a\\b `\\n`", String.raw`\-f a\eb \fB\en\fR`],
    ["quotes", "it's `'` `~^`", String.raw`it\(aqs \fB\(aq\fR \fB\(ti\(ha\fR`],
    [
      "a dot at the start of a line",
      ".so is\n.ts",
      String.raw`\&.so is` + "\n" + String.raw`\&.ts`,
    ],
    ["other letters", "é → 𝄞", String.raw`\[u00E9] \[u2192] \[u1D11E]`],
    ["entities", "a &lt; b", "a < b"],
    ["links to pages", "[cow](../cow/README.md)", String.raw`\fBnbdkit\-cow\-filter\fR(1)`],
    [
      "links to pages with other words",
      "[the other](../cow/README.md)",
      String.raw`the other (\fBnbdkit\-cow\-filter\fR(1))`,
    ],
    ["links to the web", "[NBD](https://x.org/a-b)", String.raw`NBD <https://x.org/a\-b>`],
    ["links to other files", "[all](LICENSE)", "all"],
  ])("%s", (_, markdown, roff) => {
    expect(described(markdown).join("\n")).toBe(roff);
  });
});

describe("blocks", () => {
  test("code keeps its lines, and nothing in it is a command", () => {
    expect(described("```sh\n.a 'b'\n\n  c\\\n```")).toEqual([
      ".in +4n",
      ".nf",
      String.raw`\&.a \(aqb\(aq`,
      String.raw`\&`,
      String.raw`  c\e`,
      ".fi",
      ".in",
    ]);
  });

  test("lists, also in lists", () => {
    expect(described("- a\n- b\n\n  c\n  - d\n\n1. e\n2. f")).toEqual([
      String.raw`.IP \(bu 3`,
      "a",
      String.raw`.IP \(bu 3`,
      "b",
      ".IP",
      "c",
      ".RS 3",
      String.raw`.IP \(bu 3`,
      "d",
      ".RE",
      ".IP 1. 3",
      "e",
      ".IP 2. 3",
      "f",
    ]);
  });

  test("headings are plain, and those of level 3 keep their case", () => {
    expect(described("text\n\n### `a=N` it's\n\ntext\n\n## See `x`")).toEqual([
      "text",
      String.raw`.SS a=N it\(aqs`,
      "text",
      ".SH SEE X",
    ]);
  });

  test("tables go through tbl", () => {
    expect(described("| A | B |\n| --- | --- |\n| `c d` | e |")).toEqual([
      ".TS",
      "lw(3n) lx.",
      "T{",
      String.raw`\fBA\fR`,
      "T}\tT{",
      String.raw`\fBB\fR`,
      "T}",
      "T{",
      String.raw`\fBc d\fR`,
      "T}\tT{",
      "e",
      "T}",
      ".TE",
    ]);
  });
});

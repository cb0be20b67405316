/** Reads the results that `bun test --reporter=junit` writes. */

export type Outcome = "passed" | "failed" | "skipped";

export interface TestResult {
  readonly file: string;
  /** The describe blocks and the test, from the outside in, joined by " > ". */
  readonly name: string;
  readonly outcome: Outcome;
}

// Bun escapes every < and > inside attributes and texts, so a tag ends at the first >.
const TAG = /<(\/?)(testsuite|testcase|skipped|failure|error)\b([^>]*?)(\/?)>/g;

/** The tests of a report, in its order. The outermost suites are files. */
export function readJunit(xml: string): TestResult[] {
  const results: TestResult[] = [];
  const open: string[] = [];
  let outcome: Outcome = "passed";
  for (const [, slash, tag, attributes = "", selfClosing] of xml.matchAll(TAG)) {
    const starts = slash === "";
    const ends = slash === "/" || selfClosing === "/";
    if (tag === "skipped" || tag === "failure" || tag === "error") {
      if (starts) outcome = tag === "skipped" ? "skipped" : "failed";
      continue;
    }
    if (starts) {
      open.push(attribute(attributes, "name"));
      if (tag === "testcase") outcome = "passed";
    }
    if (!ends) continue;
    if (tag === "testcase") {
      const [file = "", ...path] = open;
      results.push({ file, name: path.join(" > "), outcome });
    }
    open.pop();
  }
  return results;
}

function attribute(attributes: string, name: string): string {
  const found = new RegExp(`\\b${name}="([^"]*)"`).exec(attributes);
  return unescape(found?.[1] ?? "");
}

const ENTITIES: Readonly<Record<string, string>> = {
  amp: "&",
  apos: "'",
  gt: ">",
  lt: "<",
  quot: '"',
};

function unescape(text: string): string {
  return text.replaceAll(/&(#x?)?(\w+);/g, (whole: string, number: string, word: string) => {
    if (number === "#x") return String.fromCodePoint(Number.parseInt(word, 16));
    if (number === "#") return String.fromCodePoint(Number.parseInt(word, 10));
    return ENTITIES[word] ?? whole;
  });
}

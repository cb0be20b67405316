/**
 * The manuals for authors describe every member, function, macro and export, with its declaration from the headers.
 * `UPDATE=1` rewrites the declarations.
 */
import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { camelCase } from "../../codegen/names.ts";
import { declarations, macros, pages, root, type Section, sectionsOf } from "./reference.ts";

const all = await pages();
const manualOf = (file: string) => readFileSync(join(root, "docs", file), "utf8");
const texts = all.map(({ file }) => manualOf(file)).join("\n");

/** Whether the text contains the name as a whole word. */
const names = (text: string, name: string) =>
  new RegExp(`(?<!\\w)${RegExp.escape(name)}(?!\\w)`).test(text);

const firstRelease = (prose: string) => /Since\s+nbdkit\s+(\d+\.\d+)/.exec(prose)?.[1];

describe.each(all.map((page) => [page.file, page] as const))("%s", (file, { entries, named }) => {
  const known = new Map(entries.map((entry) => [entry.name, entry]));
  const sections = sectionsOf(manualOf(file));
  const entriesOf = (section: Section) => section.names.flatMap((name) => known.get(name) ?? []);

  test("has a heading for each declaration of the headers, and for no other", () => {
    const headed = sections.flatMap(({ names: list }) => list);
    const camel = new Set(entries.map(({ name }) => camelCase(name)));
    expect(entries.map(({ name }) => name).filter((name) => !headed.includes(name))).toEqual([]);
    expect(headed.filter((name) => !known.has(name) && !camel.has(name))).toEqual([]);
  });

  test("has the declarations of the headers and the types (UPDATE=1 rewrites them)", () => {
    if (process.env["UPDATE"] === "1") {
      let manual = manualOf(file);
      for (const section of sections) {
        const old = `### ${section.heading}\n\n${section.block === "" ? "" : `${section.block}\n\n`}`;
        const block = declarations(entriesOf(section));
        manual = manual.replace(old, () => `### ${section.heading}\n\n${block}\n\n`);
      }
      writeFileSync(join(root, "docs", file), manual);
    }
    const now = sectionsOf(manualOf(file));
    const wrong = now.filter((section) => section.block !== declarations(entriesOf(section)));
    expect(wrong.map(({ heading, block }) => ({ heading, block }))).toEqual([]);
  });

  test("names the first release of each entry, and describes it", () => {
    const short = sections.filter(
      ({ prose }) => !/Since\s+nbdkit\s+\d/.test(prose) || prose.length < 60,
    );
    expect(short.map(({ heading }) => heading)).toEqual([]);
  });

  test("names the same first release as the layouts", () => {
    const wrong = sections.flatMap((section) =>
      entriesOf(section)
        .filter(({ since }) => since !== undefined)
        .map(({ name, since }) => [name, since, firstRelease(section.prose)] as const)
        .filter(([, since, first]) => since !== first),
    );
    expect(wrong).toEqual([]);
  });

  test("mentions everything that has no heading of its own", () => {
    expect([...new Set(named)].filter((name) => !names(manualOf(file), name))).toEqual([]);
  });
});

test("the manuals mention every macro of the headers", async () => {
  const missing = (await macros()).filter((name) => !names(texts, name) && !isLayout(name));
  expect(missing).toEqual([]);
});

/** The macro of a layout, which has a row in the table of layouts. */
function isLayout(macro: string): boolean {
  const layout = macro.replace("NBDKIT_FILTER_RELEASE_", "").toLowerCase().replaceAll("_", ".");
  return new RegExp(`^\\| ${RegExp.escape(layout)} (\\(\\d\\) )?\\|`, "m").test(texts);
}

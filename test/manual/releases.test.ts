/** Texts that name nbdkit's releases agree with abi/recognise/releases.ts. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { layoutRows, newestKnown, stableSeries } from "#abi/recognise/releases";
import { newestLayout } from "#api/generated/constants.gen";

import { idWord, releaseMacro } from "../../codegen/names.ts";
import { root } from "./reference.ts";

const textOf = (path: string) => readFileSync(join(root, path), "utf8");

const series = newestKnown.replace(/\.\d+$/, "");
const [, minor, micro] = newestKnown.split(".");

/** Sentences and lines that must be in the files. A line break counts as a space. */
const mustSay: Readonly<Record<string, readonly string[]>> = {
  "include/nbdkit-filter-releases.h": [
    `#elif NBDKIT_FILTER_RELEASE == ${releaseMacro(newestLayout)} ` +
      `#define NBDKIT_VERSION_MINOR ${minor} #define NBDKIT_VERSION_MICRO ${micro} #else`,
  ],
  "include/pkgconfig/nbdkit.pc": [`release=${idWord(newestLayout)} `, `Version: ${newestKnown} `],
  "docs/nbdkit.md": [
    `nbdkit ${series} and can replace nbdkit`,
    `a stable release from 1.2 to ${series},`,
    `all releases up to nbdkit ${series}. A filter for a later release runs as one of ${series},`,
    `every option of nbdkit ${series},`,
  ],
  "README.md": [`up to ${newestKnown}`, `those of nbdkit ${series}.`],
};

describe.each(Object.entries(mustSay))("%s names the newest release", (path, sentences) => {
  const text = textOf(path).replaceAll(/\s+/g, " ");

  test.each(sentences)("%s", (sentence) => {
    const fix = text.includes(sentence) ? "" : `${path}: write "${sentence}"`;
    expect(fix).toBe("");
  });
});

const header = textOf("include/nbdkit-filter-releases.h");

/** The rows of the table of layouts: the number of the API, and the stable releases. */
const table = new Map(
  [...textOf("docs/nbdkit-filter.md").matchAll(/^\| ([\d.]+)(?: \((\d)\))? \| ([^|]+) \|/gm)].map(
    ([, id = "", api, stable]) => [id, { api, stable }],
  ),
);

describe.each(layoutRows)("layout $id", (row) => {
  const { id, first, last } = row;

  test("has its first and last release in the comment of nbdkit-filter-releases.h", () => {
    const line = new RegExp(`^#define ${releaseMacro(id)} .*$`, "m").exec(header)?.[0];
    // The name of a layout with a single release is this release.
    expect(line).toContain(first === last ? "/* " : `/* ${first} to ${last}: `);
  });

  test("has its stable releases in the table of docs/nbdkit-filter.md", () => {
    const stable = stableSeries(row);
    const few = stable.length > 2 ? `${stable[0]} to ${stable.at(-1)}` : stable.join(", ");
    expect(table.get(id)?.stable).toBe(few === "" ? "none" : few);
  });
});

test("the table of docs/nbdkit-filter.md gives the newest layout API number 6", () => {
  const ids = [...table].filter(([, { api }]) => api === "6").map(([id]) => id);
  expect(ids).toEqual([newestLayout]);
});

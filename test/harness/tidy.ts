/** The checks of test/tidy.test.ts that read text: width of prose, links, words, lines of code, tuned numbers. */
import { dirname, join, normalize } from "node:path";

/** The widest line of a manual or a comment, in columns. */
export const proseWidth = 120;

/** Markdown with blank lines where its fenced code was. */
function withoutFences(markdown: string): string {
  return markdown.replaceAll(/^```[^]*?^```$/gm, (block) => block.replaceAll(/[^\n]+/g, ""));
}

/** The same without code spans. */
export function withoutCode(markdown: string): string {
  return withoutFences(markdown).replaceAll(/`[^`\n]*`/g, "");
}

/** Lines of code: neither blank nor only a comment. */
export function codeLines(code: string): number {
  const withoutBlocks = code.replaceAll(/^\s*\/\*[^]*?\*\//gm, "");
  return withoutBlocks
    .split("\n")
    .filter((line) => !/^\s*($|\/\/|#(?!include|define|if|el|end))/.test(line)).length;
}

/**
 * Lines of a manual that are too wide, as `LINE: WIDTH`. Code, tables and headings may be wider, and the target of
 * a link does not count, since none of them can be broken.
 */
export function wideProse(markdown: string): string[] {
  return widths(withoutFences(markdown), (line) =>
    /^[|#]/.test(line) ? 0 : line.replaceAll(/\]\([^)\s]*\)/g, "]").length,
  );
}

/** Lines of code that end in a comment and are too wide, as `LINE: WIDTH`. Lines with a URL may be wider. */
export function wideComments(code: string): string[] {
  return widths(code, (line) =>
    /^\s*(\*|\/\/|\/\*|# )|[ \t](\/\/|\/\*) /.test(line) && !line.includes("://") ? line.length : 0,
  );
}

function widths(text: string, width: (line: string) => number): string[] {
  return text.split("\n").flatMap((line, index) => {
    const found = width(line);
    return found > proseWidth ? [`${index + 1}: ${found}`] : [];
  });
}

/** The files that the relative links of the manual at `path` lead to. Links of one page into itself are left out. */
export function linkTargets(path: string, markdown: string): string[] {
  return [...withoutCode(markdown).matchAll(/\]\((?!\w+:|#)([^)#\s]+)/g)].map((found) =>
    normalize(join(dirname(path), found[1] ?? "")).replace(/\/$/, ""),
  );
}

/** Relative links of the manual at `path` that lead to nothing. */
export function deadLinks(
  path: string,
  markdown: string,
  exists: (path: string) => boolean,
): string[] {
  return linkTargets(path, markdown).filter((target) => !exists(target));
}

/** The headings of a manual, without their markup. */
function headingsOf(markdown: string): string[] {
  return Array.from(withoutFences(markdown).matchAll(/^#{1,6} +(.+?) *$/gm), ([, text = ""]) =>
    text.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").replaceAll(/[`*]/g, ""),
  );
}

/** The anchors that GitHub gives to headings: the second of two equal ones ends in -1. */
function anchorsOf(headings: readonly string[]): string[] {
  const seen = new Map<string, number>();
  return headings.map((heading) => {
    const anchor = heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, "")
      .replaceAll(" ", "-");
    const before = seen.get(anchor) ?? 0;
    seen.set(anchor, before + 1);
    return before === 0 ? anchor : `${anchor}-${before}`;
  });
}

/**
 * References of the manual at `path` to headings that are not there: `[text](b.md#anchor)`, `[text](#anchor)`,
 * `"Heading" in [text](b.md)`, and `"Heading" above` or `below`. `read` returns nothing for a file that is missing.
 */
export function deadSections(
  path: string,
  markdown: string,
  read: (path: string) => string | undefined,
): string[] {
  const text = withoutCode(markdown).replaceAll(/\s+/g, " ");
  const headings = (link: string) =>
    headingsOf(link === "" ? markdown : (read(normalize(join(dirname(path), link))) ?? ""));
  const anchors = [...text.matchAll(/\]\(((?!\w+:)[^)#\s]*)#([^)\s]+)\)/g)]
    .filter(([, link = ""]) => link === "" || link.endsWith(".md"))
    .filter(([, link = "", anchor = ""]) => !anchorsOf(headings(link)).includes(anchor))
    .map(([, link = "", anchor = ""]) => `${link}#${anchor}`);
  const names = [
    ...text.matchAll(/"([A-Z][^"]*)" in \[[^\]]*\]\(((?!\w+:)[^)#\s]+\.md)\)/g),
    ...text.matchAll(/"([A-Z][^"]*)" (?:above|below)\b/g),
  ]
    .filter(([, name = "", link = ""]) => !headings(link).includes(name))
    .map(([, name = "", link = ""]) => `${link} "${name}"`.trim());
  return [...anchors, ...names];
}

/**
 * Whether npm packs the file or folder at `path`, by the list `files` of package.json: `folder/`, `file`, and `!glob`
 * for what it leaves out. npm packs package.json, README and LICENSE of the top folder in any case.
 */
export function isPacked(path: string, patterns: readonly string[]): boolean {
  if (/^(package\.json|readme(\.\w+)?|licen[cs]e(\.\w+)?)$/i.test(path)) return true;
  const left = patterns.filter((pattern) => pattern.startsWith("!"));
  if (left.some((pattern) => new Bun.Glob(pattern.slice(1)).match(path))) return false;
  return patterns.some((pattern) =>
    pattern.endsWith("/") ? `${path}/`.startsWith(pattern) : path === pattern,
  );
}

/** Links of a packed manual to files that are not packed: in an installed package they lead nowhere. */
export function unpackedLinks(
  path: string,
  markdown: string,
  patterns: readonly string[],
): string[] {
  if (!isPacked(path, patterns)) return [];
  return linkTargets(path, markdown).filter((target) => !isPacked(target, patterns));
}

/**
 * How often a text has this phrase as whole words, whatever the case. The phrase may go over the end of a line, also
 * of a comment. Names in code do not count: `-u nobody`, "nobody", `nobody:nogroup`.
 */
export function timesOfPhrase(text: string, phrase: string): number {
  const flowing = text.replaceAll(/`[^`\n]*`/g, "").replaceAll(/\s*\n\s*(\*(?!\/)|\/\/)?\s*/g, " ");
  const words = phrase.replaceAll(" ", String.raw`\s+`);
  const found = new RegExp(String.raw`(?<![\w"'=:/-]|-u )\b${words}\b(?![\w:=/(]|-)`, "gi");
  return [...flowing.matchAll(found)].length;
}

/** The numbers of a `limits.ts` or `limits.h` whose comment, directly above, does not justify them. */
export function unjustifiedLimits(code: string): string[] {
  const limits =
    /(?:\/\*(?<comment>(?:(?!\*\/)[\s\S])*)\*\/\n)?^(?:export const|#define) (?<name>\w+)(?: =)? \S/gm;
  return [...withJoinedComments(code).matchAll(limits)]
    .filter(({ groups }) => !/\b(?:bench: "|source: |choice: )/.test(groups?.["comment"] ?? ""))
    .map(({ groups }) => groups?.["name"] ?? "");
}

/** The sections of bench/README.md that comments name as `bench: "SECTION"`. */
export function benchSections(code: string): string[] {
  return [...withJoinedComments(code).matchAll(/\bbench: "([^"]+)"/g)].map(
    (found) => found[1] ?? "",
  );
}

/** The code with the lines of each comment joined. */
function withJoinedComments(code: string): string {
  return code.replaceAll(/\s*\n\s*\*(?!\/)\s*/g, " ");
}

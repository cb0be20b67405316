/** Converts a Markdown manual to a page for man(1), in the macros of man(7). Bun parses the Markdown. */

/** The page of a link, such as `nbdkit-offset-filter(1)`; undefined if it is not one of ours. */
export type PageOf = (href: string) => string | undefined;

export interface Page {
  readonly name: string;
  readonly section: 1 | 3;
  /** The text of the footer. */
  readonly version: string;
}

/** The first heading and paragraph of the Markdown become the page's NAME; headings of level 2 its sections. */
export function manPage(markdown: string, page: Page, pageOf: PageOf): string {
  const { title, summary, rest } = openingOf(markdown);
  if (title !== page.name) throw new Error(`${page.name}: the manual is titled ${title}`);
  const [sentence = "", ...more] = summary.split(/(?<=\.) /);
  const about = render(sentence.replace(/\.$/, ""), pageOf).replace(paragraph, "").trim();
  // NAME only has the first sentence.
  const described = rest.replace(/^## Description\n/m, (heading) =>
    [heading, more.join(" "), ""].join("\n"),
  );
  const header = `.TH ${page.name.toUpperCase()} ${page.section} "" "nbdkit ${page.version}" nbdkit`;
  const body = render(described, pageOf);
  const text = finished(`\n${macro}SH NAME\n${escaped(page.name)} ${command}- ${about}\n${body}`);
  // This line makes man(1) run tbl(1).
  const hint = text.includes("\n.TS\n") ? "'\\\" t\n" : "";
  return `${hint}${header}\n.nh\n.ad l${text}`;
}

/** Converts marks to troff's fonts and commands, and removes blank lines and redundant paragraph macros. */
function finished(text: string): string {
  const plain = text
    .replaceAll(bold, String.raw`\fB`)
    .replaceAll(italic, String.raw`\fI`)
    .replaceAll(roman, String.raw`\fR`)
    .replaceAll(command, "\\")
    .replaceAll(macro, ".")
    .replaceAll(/\n{2,}/g, "\n");
  return plain.replaceAll(/^(\.S[HS] .*\n)\.PP\n/gm, "$1").trimEnd() + "\n";
}

function openingOf(markdown: string) {
  const [, title = "", summary = "", rest = ""] =
    /^# (.+)\n\n([^]+?)\n\n([^]*)$/.exec(markdown) ?? [];
  return { title, summary: summary.replaceAll(/\s+/g, " "), rest };
}

/** Characters that no manual contains mark fonts and commands, until the surrounding text is escaped. */
const bold = "\uE001";
const italic = "\uE002";
const roman = "\uE003";
/** A backslash for troff. */
const command = "\uE004";
/** The dot of a macro, distinct from dots in text. */
const macro = "\uE007";

function render(markdown: string, pageOf: PageOf): string {
  return Bun.markdown.render(markdown, {
    text: escaped,
    strong: (inner) => bold + inner + roman,
    emphasis: (inner) => italic + inner + roman,
    codespan: (inner) => bold + inner + roman,
    link: (inner, { href }) => linked(inner, href, pageOf(href)),
    heading: (inner, { level }) =>
      `\n${macro}${level <= 2 ? "SH" : "SS"} ${headingText(inner, level)}\n`,
    paragraph: (inner) => `\n${macro}PP\n${lines(inner)}\n`,
    blockquote: (inner) => `\n${macro}RS 4\n${inner}\n${macro}RE\n`,
    code: (inner) =>
      // Not every troff has .EX and .EE, so use their definitions.
      `\n${macro}PP\n${macro}in +4n\n${macro}nf\n${lines(inner, true)}\n${macro}fi\n${macro}in\n`,
    list: (inner, { depth }) => (depth === 0 ? inner : `\n${macro}RS 3\n${inner}\n${macro}RE\n`),
    listItem: (inner, { index, ordered, start }) => {
      const mark = ordered ? `${(start ?? 1) + index}.` : `${command}(bu`;
      return `\n${macro}IP ${mark} 3\n${itemText(inner)}\n`;
    },
    table: tableText,
    tr: (inner) => `${inner}${row}`,
    th: (inner) => `${bold}${inner}${roman}${cell}`,
    td: (inner) => `${inner}${cell}`,
    html: () => "",
  });
}

/** Escapes text for troff: no part of it is a command, and dashes can be copied to a shell. */
function escaped(text: string): string {
  return text
    .replaceAll(/[^\0-\x7f]/gu, (c) => {
      const code = (c.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
      return `${command}[u${code}]`;
    })
    .replaceAll("\\", `${command}e`)
    .replaceAll("-", `${command}-`)
    .replaceAll("'", `${command}(aq`)
    .replaceAll("`", `${command}(ga`)
    .replaceAll("^", `${command}(ha`)
    .replaceAll("~", `${command}(ti`);
}

/** A line that starts with a dot would be a command. In running text blank lines and spaces in front mean nothing. */
function lines(text: string, verbatim = false): string {
  const guarded = text
    .replace(/\n+$/, "")
    .split("\n")
    .map((line) => (verbatim ? line : line.trim()))
    .map((line) => (line.startsWith(".") ? `${command}&${line}` : line));
  return verbatim
    ? guarded.map((line) => line || `${command}&`).join("\n")
    : guarded.filter(Boolean).join("\n");
}

function headingText(inner: string, level: number): string {
  const plain = inner.replaceAll(/[\uE001-\uE003]/g, "").replaceAll('"', `${command}(dq`);
  return level <= 2 ? plain.toUpperCase().replaceAll(/\uE004\(..|\uE004\[U/g, lowered) : plain;
}

/** Names of troff's characters, which must not be capitalized. */
function lowered(name: string): string {
  return name.toLowerCase();
}

function linked(inner: string, href: string, page: string | undefined): string {
  if (page !== undefined) {
    const [, name = "", section = ""] = /^(.*)(\(\d\))$/.exec(page) ?? [];
    const shown = `${bold}${escaped(name)}${roman}${section}`;
    const plain = inner.replaceAll(/[\uE001-\uE003]/g, "");
    const named = [name, page].map(escaped);
    const short = name.replace(/^nbdkit-|-(filter|plugin)$/g, "");
    return [...named, escaped(short)].includes(plain) ? shown : `${inner} (${shown})`;
  }
  return /^[a-z]+:/.test(href) ? `${inner} <${escaped(href)}>` : inner;
}

const paragraph = `\n${macro}PP\n`;

/** The first paragraph of an item is on the line of its mark. */
function itemText(inner: string): string {
  const text = inner.replace(paragraph, "").trimStart();
  const beside = text.startsWith(macro) ? `${command}&\n${text}` : text;
  return lines(beside.replaceAll(paragraph, `\n${macro}IP\n`));
}

const cell = "\uE005";
const row = "\uE006";

/** For tbl(1): every cell is a text block, so that it may have several lines. */
function tableText(inner: string): string {
  const rows = inner
    .split(row)
    .map((text) => text.split(cell).slice(0, -1))
    .filter((cells) => cells.length > 0);
  const columns = rows[0]?.length ?? 0;
  const layout = Array.from({ length: columns }, (_, i) => {
    const texts = rows.map((cells) => cells[i] ?? "");
    return i === columns - 1 ? "lx" : `lw(${columnWidth(texts)}n)`;
  });
  const body = rows.map((cells) =>
    cells.map((text) => (text === "" ? "" : `T{\n${lines(text)}\nT}`)).join("\t"),
  );
  return `${paragraph}${macro}TS\n${layout.join(" ")}.\n${body.join("\n")}\n${macro}TE\n`;
}

const widestColumn = 28;

/** The width of the longest text, up to a limit, but at least that of the longest word. */
function columnWidth(texts: readonly string[]): number {
  const plain = texts.map((text) =>
    text.replaceAll(/[\uE001-\uE003]/g, "").replaceAll(/\uE004(\(..|\[[^\]]*\]|.)/g, "x"),
  );
  const longest = (words: readonly string[]) => Math.max(...words.map((word) => word.length));
  return Math.max(
    longest(plain.flatMap((text) => text.split(" "))),
    Math.min(longest(plain), widestColumn),
  );
}

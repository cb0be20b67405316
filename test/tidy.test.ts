/** Checks what a type checker and a linter cannot see: that folders, manuals and code agree. */
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import {
  benchSections,
  codeLines,
  deadLinks,
  deadSections,
  timesOfPhrase,
  unjustifiedLimits,
  unpackedLinks,
  wideComments,
  wideProse,
  withoutCode,
} from "#test/tidy";

const root = join(import.meta.dirname, "..");
const read = (path: string) => readFileSync(join(root, path), "utf8");

/** What git has or would add, in this folder of it. */
const files = listFiles();
const isText = (path: string) => !/\.(png|gz|xz|zst|img|bin|wasm)$/.test(path);
const isCode = (path: string) => /\.(ts|mjs|c|h|sh|py)$/.test(path);
const isTest = (path: string) => path.endsWith(".test.ts") || path.startsWith("test/");

const kinds = ["filter", "plugin"] as const;
const folders = new Set(files.map((path) => path.split("/").slice(0, 2).join("/")));
const modules = kinds.flatMap((kind) =>
  [...folders]
    .filter((folder) => folder.startsWith(`${kind}s/`))
    .map((folder) => ({ kind, name: folder.slice(kind.length + 2), folder })),
);

const HEADINGS = [
  "Synopsis",
  "Description",
  "Parameters",
  "Examples",
  "Differences from nbdkit",
  "See also",
];
/** A manual has these whatever the module is; Parameters where it takes any. */
const NEEDED_HEADINGS = ["Synopsis", "Description", "Examples"];

describe.each(modules)("$folder", ({ kind, name, folder }) => {
  // The suite checks what the module exports, so nothing is assumed about it but that it may have these.
  const load = async () =>
    ((await import(join(root, folder, `${name}.ts`))) as { default: Partial<ModuleLike> }).default;
  const manual = () => read(`${folder}/README.md`);

  test("has its code, its manual and its test", () => {
    expect(readdirSync(join(root, folder))).toEqual(
      expect.arrayContaining(["README.md", `${name}.test.ts`, `${name}.ts`]),
    );
  });

  test("exports a module of its kind and of the same name", async () => {
    const module = await load();
    expect({ name: module.name, kind: module.kind }).toEqual({ name, kind });
  });

  test("has a manual with exactly the parameters that the code takes", async () => {
    const documented = [...manual().matchAll(/^### `([A-Za-z0-9_.-]+)=/gm)].map(
      (found) => found[1],
    );
    expect(documented.toSorted()).toEqual(Object.keys((await load()).params ?? {}).toSorted());
  });

  test("has a manual with the usual headings in the usual order", async () => {
    const title = manual().split("\n")[0];
    expect(title).toBe(`# nbdkit-${name}-${kind}`);
    const found = [...withoutCode(manual()).matchAll(/^## (.+)$/gm)].map((match) => match[1] ?? "");
    expect(found).toEqual(HEADINGS.filter((heading) => found.includes(heading)));
    const takesAny = Object.keys((await load()).params ?? {}).length > 0;
    const needed = takesAny ? [...NEEDED_HEADINGS, "Parameters"] : NEEDED_HEADINGS;
    expect(needed.filter((heading) => !found.includes(heading))).toEqual([]);
  });
});

const examples = [...folders].filter((folder) => folder.startsWith("examples/"));

test.each(examples)("%s has its code, its manual and its test", (folder) => {
  const name = folder.slice("examples/".length);
  const found = readdirSync(join(root, folder));
  expect(found).toEqual(expect.arrayContaining(["README.md", `${name}.test.ts`]));
  const isExample = (file: string) =>
    file === `${name}.ts` || file === `${name}.c` || file.endsWith(".service");
  expect(found.some(isExample)).toBe(true);
});

describe("README.md", () => {
  const lists = [
    { what: "filter", heading: "### Filters", parent: "filters" },
    { what: "plugin", heading: "### Plugins", parent: "plugins" },
    { what: "example", heading: "### Examples", parent: "examples" },
  ];
  test.each(lists)("lists every $what's manual (UPDATE=1 rewrites it)", ({ heading, parent }) => {
    const text = read("README.md");
    const start = text.indexOf(`${heading}\n`) + heading.length + 1;
    expect(start).toBeGreaterThan(heading.length);
    const rest = /^#/m.exec(text.slice(start));
    const end = rest === null ? text.length : start + rest.index;
    const wanted = `\n${manualList(parent)}\n`;
    if (process.env["UPDATE"] === "1") {
      writeFileSync(join(root, "README.md"), text.slice(0, start) + wanted + text.slice(end));
    } else {
      expect(text.slice(start, end)).toBe(wanted);
    }
  });

  test("shows the two commands that CI and newcomers use", () => {
    const commands = read("README.md").split("\n");
    expect(commands).toEqual(
      expect.arrayContaining(["npm ci && npm run demo", "npm ci && npm test"]),
    );
    expect(read(".ci/run").split("\n")).toEqual(
      expect.arrayContaining(["npm ci </dev/null", "npm test </dev/null"]),
    );
  });
});

test("every generated file says so, and nothing else does", () => {
  const banner = /^(\/\/|\/\*) Generated by codegen\/ from /;
  const inFolder = files.filter((path) => /^(abi|src\/(api|sys))\/generated\//.test(path));
  expect(inFolder.filter((path) => !/\.gen\.(ts|c|h)$/.test(path))).toEqual([]);
  expect(inFolder.filter((path) => !banner.test(read(path)))).toEqual([]);
  const elsewhere = files.filter((path) => /\.gen\.[a-z]+$/.test(path) && !inFolder.includes(path));
  expect(elsewhere).toEqual([]);
});

test("every TypeScript file but the tests starts with a comment that says what it is", () => {
  const without = files
    .filter((path) => path.endsWith(".ts") && !path.endsWith(".test.ts"))
    .filter((path) => !path.startsWith("test/codegen/cases/"))
    .filter((path) => !/^(#!.*\n)?(\/\*\*?|\/\/) ?\S/.test(read(path)));
  expect(without).toEqual([]);
});

test("no file has more than 600 lines of code", () => {
  const long = files
    .filter((path) => isCode(path) && !path.includes(".gen."))
    .map((path) => ({ path, lines: codeLines(read(path)) }))
    .filter(({ lines }) => lines > 600);
  expect(long).toEqual([]);
});

test("no manual and no comment is wider than 120 columns", () => {
  const wide = files
    .filter((path) => (isCode(path) && !path.includes(".gen.")) || path.endsWith(".md"))
    .flatMap((path) => {
      const text = read(path);
      const lines = path.endsWith(".md") ? wideProse(text) : wideComments(text);
      return lines.map((line) => `${path}:${line} columns`);
    });
  expect(wide).toEqual([]);
});

describe.each(files.filter((path) => /\blimits\.(ts|h)$/.test(path)))("%s", (path) => {
  test("justifies each number in the comment above it", () => {
    expect(unjustifiedLimits(read(path))).toEqual([]);
  });

  test("names sections that bench/README.md has", () => {
    const headings = [...read("bench/README.md").matchAll(/^##+ (.+)$/gm)].map(([, heading = ""]) =>
      heading.replaceAll("`", ""),
    );
    expect(headings).toEqual(expect.arrayContaining(benchSections(read(path))));
  });
});

test("every test waits for what it expects of a promise", () => {
  const forgotten = files
    .filter((path) => path.endsWith(".test.ts"))
    .filter((path) => /^\s*expect\([^;]*?\)\.(rejects|resolves)\b/m.test(read(path)));
  expect(forgotten).toEqual([]);
});

test("no shared object, object file or disk image is committed", () => {
  expect(files.filter((path) => /\.(so|o|a|img|qcow2|core)$/.test(path))).toEqual([]);
});

test("no file names a path of somebody's machine or a host of a package registry", () => {
  const machine = /(?<![\w.$}/-])\/(work|root|Users)\/\w/;
  const registry = /registry\.(npmjs|yarnpkg)|deb\.debian|proxy\.golang|pypi\.(org|python)/;
  const found = files
    .filter(isText)
    .filter((path) => machine.test(read(path)) || registry.test(read(path)));
  expect(found).toEqual([]);
});

test("every relative link in a manual leads to a file", () => {
  const dead = files
    .filter((path) => path.endsWith(".md"))
    .flatMap((path) =>
      deadLinks(path, read(path), (target) => existsSync(join(root, target))).map(
        (target) => `${path}: ${target}`,
      ),
    );
  expect(dead).toEqual([]);
});

test("every section that a manual refers to is a heading", () => {
  const readIfThere = (path: string) => (existsSync(join(root, path)) ? read(path) : undefined);
  const dead = files
    .filter((path) => path.endsWith(".md"))
    .flatMap((path) =>
      deadSections(path, read(path), readIfThere).map((target) => `${path}: ${target}`),
    );
  expect(dead).toEqual([]);
});

test("a manual in the npm package links only to files in the package", () => {
  const packed = (JSON.parse(read("package.json")) as { files: string[] }).files;
  const dead = files
    .filter((path) => path.endsWith(".md"))
    .flatMap((path) =>
      unpackedLinks(path, read(path), packed).map((target) => `${path}: ${target}`),
    );
  expect(dead).toEqual([]);
});

/**
 * How often a text that should not be there is there all the same. Fewer than the limit fails too,
 * so that the limit only ever goes down.
 */
const ratchets = [
  {
    text: "args: [",
    among: (path: string) => /^(abi|src)\/.*\.ts$/.test(path) && !path.includes(".gen."),
    limit: 0,
    why: "codegen reads what C functions take from headers",
  },
  {
    text: "as unknown as",
    among: (path: string) => path.endsWith(".ts") && path !== "test/tidy.test.ts",
    limit: 3,
    why: "a double cast switches the type checker off",
  },
  {
    text: "Bun.sleep",
    among: (path: string) => isTest(path) && path !== "test/tidy.test.ts",
    limit: 0,
    why: "a test waits for a condition, not for time to pass",
  },
  {
    text: "setTimeout(",
    among: (path: string) => isTest(path) && path !== "test/tidy.test.ts",
    limit: 4,
    why: "only the harness watches clocks: its poll, and its deadlines for child processes; and who listens for silence",
  },
] as const;

test.each(ratchets)("`$text` is rare, since $why", ({ text, among, limit }) => {
  const places = files
    .filter((path) => isText(path) && among(path))
    .map((path) => ({ path, times: read(path).split(text).length - 1 }))
    .filter(({ times }) => times > 0);
  const total = places.reduce((sum, { times }) => sum + times, 0);
  const list = places.map(({ path, times }) => `${path}: ${times}`).join("\n");
  const advice = total < limit ? `lower the limit to ${total}` : `only ${limit} are allowed`;
  expect(total, `${advice}:\n${list}`).toBe(limit);
});

/**
 * Phrases that read badly, and how often manuals, comments, messages and test names still have
 * them. The numbers only go down. "Voice" in CONTRIBUTING.md shows what to write instead.
 */
const phrases = {
  nobody: 1,
  whoever: 0,
  somebody: 0,
  "tell of": 0,
  "tells of": 0,
  "told of": 0,
  "also where": 0,
  "such as were": 0,
  shall: 0,
  "of which": 0,
};

test.each(Object.entries(phrases))("texts say `%s` at most %d times", (phrase, limit) => {
  const places = files
    .filter((path) => isCode(path) || path.endsWith(".md"))
    .filter((path) => !path.includes(".gen.") && !/\btidy(\.test)?\.ts$/.test(path))
    .map((path) => ({ path, times: timesOfPhrase(read(path), phrase) }))
    .filter(({ times }) => times > 0);
  const total = places.reduce((sum, { times }) => sum + times, 0);
  const list = places.map(({ path, times }) => `${path}: ${times}`).join("\n");
  expect(total, `"${phrase}" is allowed ${limit} times:\n${list}`).toBeLessThanOrEqual(limit);
});

interface ModuleLike {
  readonly name: string;
  readonly kind: string;
  readonly params: Readonly<Record<string, unknown>>;
}

function listFiles(): string[] {
  // The clone may belong to another user than the one who runs the tests.
  const git = ["git", "-c", "safe.directory=*", "ls-files", "-z"];
  const { exitCode, stdout, stderr } = Bun.spawnSync(
    [...git, "--cached", "--others", "--exclude-standard"],
    { cwd: root, stderr: "pipe" },
  );
  if (exitCode !== 0) throw new Error(`the tidy suite needs a git clone: ${stderr.toString()}`);
  return [...new Set(stdout.toString().split("\0"))]
    .filter((path) => path !== "" && existsSync(join(root, path)))
    .toSorted();
}

/** One line for each manual: its link, and the first sentence after its title. */
function manualList(parent: string): string {
  return [...folders]
    .filter((folder) => folder.startsWith(`${parent}/`))
    .map((folder) => {
      const name = folder.slice(parent.length + 1);
      const path = `${folder}/README.md`;
      if (!existsSync(join(root, path))) return `- ${name}: no manual\n`;
      const paragraph = read(path).split(/\n\s*\n/)[1] ?? "";
      const sentence = paragraph.replaceAll(/\s+/g, " ").split(/(?<=\.) /)[0] ?? "";
      return `- [${name}](${path}): ${sentence.trim()}\n`;
    })
    .join("");
}

/** Converts the manuals that README.md links to pages for man(1), in man/. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, normalize } from "node:path";

import { version } from "../src/cli/version.ts";
import { manPage, type Page } from "./roff.ts";

const root = join(import.meta.dirname, "..");

export interface Manual extends Page {
  /** Relative to the root of the project. */
  readonly source: string;
}

/** Every manual that becomes a page. */
export function manuals(): readonly Manual[] {
  const documents = readdirSync(join(root, "docs"))
    .filter((file) => /^nbdkit.*\.md$/.test(file))
    .map((file): Manual => {
      const name = basename(file, ".md");
      // Manuals for authors of modules are in section 3, as in nbdkit.
      const section = /-(filter|functions|plugin)$/.test(name) ? 3 : 1;
      return { name, section, version, source: `docs/${file}` };
    });
  const modules = (["filter", "plugin"] as const).flatMap((kind) =>
    readdirSync(join(root, `${kind}s`)).map((name): Manual => {
      return {
        name: `nbdkit-${name}-${kind}`,
        section: 1,
        version,
        source: `${kind}s/${name}/README.md`,
      };
    }),
  );
  return [...documents, ...modules].toSorted((a, b) => a.name.localeCompare(b.name, "en"));
}

/** The page of one manual. */
export function pageOf(manual: Manual): string {
  const all = manuals();
  return manPage(readFileSync(join(root, manual.source), "utf8"), manual, (href) => {
    if (/^[a-z]+:/.test(href)) return undefined;
    const path = normalize(join(dirname(manual.source), href.replace(/#.*$/, "")));
    const other = all.find(({ source }) => source === path);
    return other && `${other.name}(${other.section})`;
  });
}

if (import.meta.main) {
  const folder = join(root, "man");
  rmSync(folder, { recursive: true, force: true });
  for (const manual of manuals()) {
    const place = join(folder, `man${manual.section}`);
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, `${manual.name}.${manual.section}`), pageOf(manual));
  }
}

/** Preloaded if tests run under a sanitizer (scripts/sanitizer.ts): its reports fail the test that was running. */
import { afterEach } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Reports on other people's modules, by a text in the report. They are ignored. */
const known: readonly { readonly text: string; readonly why: string }[] = [];

/** The folder of the reports. Each process writes a file of its own. */
const folder = process.env["SANITIZER_REPORTS"] ?? "";
const seen = new Map<string, number>();

afterEach(() => {
  const reports = readdirSync(folder).map((name) => {
    const text = readFileSync(join(folder, name), "utf8");
    const before = seen.get(name) ?? 0;
    seen.set(name, text.length);
    return text.slice(before);
  });
  const ours = reports
    .filter((report) => report !== "")
    .filter((report) => !known.some(({ text }) => report.includes(text)));
  if (ours.length > 0) throw new Error(ours.join("\n"));
});

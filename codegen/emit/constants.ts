/** Emits constants.gen.ts: the headers' macros that TypeScript needs. */
import { flags, numbers, tables } from "../constants.ts";
import { headers, integerOf, type Model } from "../model.ts";
import type { GeneratedFile } from "../output.ts";
import type { Macro } from "../parse/constants.ts";
import { addConstant, objectText, typescriptFile } from "./typescript.ts";

export function emitConstants(model: Model): GeneratedFile {
  const inputs = [headers.common, headers.filter, headers.oldNames, headers.plugin];
  return typescriptFile("constants.gen.ts", inputs, (file) => {
    for (const macro of model.macros) {
      const about = flags[macro.name];
      if (about === undefined) continue;
      const name = macro.name.replace("NBDKIT_", "");
      addConstant(file, name, valueOf(macro), `${macro.name}: ${about}`);
    }
    for (const table of tables) {
      const about = `${table.prefixes.map((prefix) => `${prefix}*`).join(", ")}: ${table.about}`;
      const entries = tableOf(model, table.name);
      addConstant(file, table.name, `${objectText(entries)} as const`, about);
    }
    for (const macro of model.macros) {
      const meaning = numbers[macro.name];
      if (meaning === undefined) continue;
      addConstant(file, meaning.name, valueOf(macro), `${macro.name}: ${meaning.about}`);
    }
    const newest = JSON.stringify(model.releases.at(-1)?.id);
    addConstant(file, "newestLayout", newest, "The last layout of struct nbdkit_filter.");
    const old = [...model.oldNames].map(([name, id]) => [name, `"${id}"`] as const);
    const about = "NBDKIT_GENERATION_*: the deprecated names of layouts.";
    addConstant(file, "oldReleaseNames", `${objectText(old)} as const`, about);
    const versions = `[${model.pluginVersions.join(", ")}] as const`;
    addConstant(
      file,
      "pluginApiVersions",
      versions,
      "NBDKIT_API_VERSION: _api_version of plugins.",
    );
  });
}

/** The keys and values of a table, which must be the same for all of its prefixes. */
export function tableOf(model: Model, name: string): (readonly [string, string])[] {
  const prefixes = tables.find((table) => table.name === name)?.prefixes ?? [];
  const [first = [], ...others] = prefixes.map((prefix) =>
    model.macros
      .filter((macro) => macro.name.startsWith(prefix))
      .map((macro) => [macro.name.slice(prefix.length).toLowerCase(), valueOf(macro)] as const),
  );
  const differs = others.some((other) => JSON.stringify(other) !== JSON.stringify(first));
  if (differs || first.length === 0) {
    throw new Error(
      `codegen/constants.ts: ${prefixes.join(", ")} must have the same names and values`,
    );
  }
  return first;
}

/** The value in TypeScript's syntax. */
export function valueOf(macro: Macro): string {
  const value = integerOf(macro);
  // Hexadecimal as in the header, so that a search finds both.
  const hexadecimal = /\b0x[0-9a-fA-F]+/.exec(macro.at.source);
  return hexadecimal?.[0].toLowerCase() ?? String(value);
}

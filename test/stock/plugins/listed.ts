/** The list of exports, as nbdinfo shows it. */
import { run } from "#test/server";

import type { Target } from "../stock.ts";

/** Fields of each export, like `export-name`. */
export async function listed({ uri }: Target, ...fields: readonly string[]): Promise<unknown[][]> {
  const { stdout } = await run(["nbdinfo", "--list", "--json", uri]);
  const { exports } = JSON.parse(stdout) as { exports: Record<string, unknown>[] };
  return exports.map((item) => fields.map((field) => item[field]));
}

/** `bun run codegen [--check]`: bring the generated files up to date with the headers, or list those that are not. */
import { join } from "node:path";
import { parseArgs } from "node:util";

import { generate } from "./generate.ts";
import { stale, update } from "./output.ts";

/** `--root` is for tests: the folder of the headers and of the generated files. */
const { values } = parseArgs({
  options: { check: { type: "boolean", default: false }, root: { type: "string" } },
});
const root = values.root ?? join(import.meta.dir, "..");
const check = values.check || process.env["CI"] === "true";

try {
  const files = await generate(root);
  const changed = await (check ? stale : update)(root, files);
  for (const path of changed) {
    process.stdout.write(
      check ? `${path} is out of date: run \`bun run codegen\`\n` : `updated ${path}\n`,
    );
  }
  process.exitCode = check && changed.length > 0 ? 1 : 0;
} catch (error) {
  process.stderr.write(`codegen: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

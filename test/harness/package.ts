/** Copies of this package that a test may change, install elsewhere, or let write into its own folder. */
import { cpSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dir, "..", "..");
const parts = ["abi", "bin", "filters", "include", "plugins", "package.json", "src"] as const;

/** Copy the files that the server needs into the new folder `folder`. Dependencies are those of this project. */
export function copyPackage(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const part of parts) cpSync(join(root, part), join(folder, part), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
}

/**
 * Completes package-lock.json with optional packages for other platforms that the registry at hand
 * did not have: npm leaves them out, and then `npm ci` refuses its own lock file.
 */
import { join } from "node:path";

interface Entry {
  readonly version?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly [other: string]: unknown;
}

/** The lock file's packages with an entry for every optional dependency; npm's order. */
export function completed(packages: Readonly<Record<string, Entry>>): Record<string, Entry> {
  const result: Record<string, Entry> = { ...packages };
  for (const entry of Object.values(packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      const path = `node_modules/${name}`;
      const known = result[path] !== undefined;
      // Without the registry, only exact versions can be completed.
      if (known || !/^\d+\.\d+\.\d+$/.test(version)) continue;
      result[path] = {
        version,
        ...(entry.dev === true ? { dev: true } : {}),
        optional: true,
        ...platformOf(name),
      };
    }
  }
  return Object.fromEntries(
    Object.entries(result).toSorted(([a], [b]) => a.localeCompare(b, "en")),
  );
}

/** Such as "@oxlint/binding-linux-x64-musl": npm skips a package for another system, processor or libc. */
function platformOf(name: string): { os: string[]; cpu: string[]; libc?: string[] } {
  const parts = /-(android|darwin|freebsd|linux|openharmony|win32)-([a-z0-9]+)(-\w+)?$/.exec(name);
  if (parts === null) throw new Error(`cannot find the platform of ${name}`);
  const [, os = "", cpu = "", abi = ""] = parts;
  const libc = abi.includes("musl") ? "musl" : "glibc";
  return { os: [os], cpu: [cpu], ...(os === "linux" ? { libc: [libc] } : {}) };
}

if (import.meta.main) {
  const file = Bun.file(join(import.meta.dirname, "../package-lock.json"));
  const lock = (await file.json()) as { packages: Record<string, Entry> };
  await Bun.write(
    file,
    `${JSON.stringify({ ...lock, packages: completed(lock.packages) }, null, 2)}\n`,
  );
}

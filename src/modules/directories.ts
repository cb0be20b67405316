/** The directories of installed C modules, which `nbdkit --dump-config` prints as filterdir and plugindir. */
import { existsSync } from "node:fs";
import { join } from "node:path";

import { environmentVariable } from "../lib/environment.ts";
import { absolutePath } from "../lib/paths.ts";

export interface ModuleDirectories {
  readonly filterdir: string;
  readonly plugindir: string;
}

/** GNU's name for the CPU, as in Debian's folders and --dump-config. */
export const hostCpu = process.arch === "arm64" ? "aarch64" : "x86_64";

const places = [
  `/usr/lib/${hostCpu}-linux-gnu/nbdkit`,
  "/usr/lib64/nbdkit",
  "/usr/lib/nbdkit",
  `/usr/local/lib/${hostCpu}-linux-gnu/nbdkit`,
  "/usr/local/lib64/nbdkit",
  "/usr/local/lib/nbdkit",
] as const;

/** NBDKIT_FILTERDIR and NBDKIT_PLUGINDIR if they are set, else the first folder of a distribution that exists. */
export function moduleDirectories(
  variable: (name: string) => string | undefined = environmentVariable,
): ModuleDirectories {
  return {
    filterdir: directory(variable("NBDKIT_FILTERDIR"), "filters"),
    plugindir: directory(variable("NBDKIT_PLUGINDIR"), "plugins"),
  };
}

function directory(wanted: string | undefined, folder: string): string {
  if (wanted !== undefined && wanted !== "") return absolutePath(wanted);
  const candidates = places.map((place) => join(place, folder));
  return candidates.find((candidate) => existsSync(candidate)) ?? join(places[0], folder);
}

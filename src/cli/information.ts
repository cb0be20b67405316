/** What --help, --version and --dump-config print about this program and its layers. */
import { dirname } from "node:path";

import { hostCpu, moduleDirectories } from "../chain/directories.ts";
import type { Layer } from "../chain/layer.ts";
import { version } from "./version.ts";

export function versionLine(): string {
  return `nbdkit ${version} (bun ${Bun.version})\n`;
}

/** One line for each layer, from the top. */
export function layerVersions(layers: readonly Layer[]): string {
  return layers.map((layer) => `${layer.name} ${layer.version ?? ""}`.trimEnd() + "\n").join("");
}

/** One paragraph for each layer, from the top. */
export function layerHelp(layers: readonly Layer[]): string {
  return layers.map(helpOf).join("");
}

function helpOf(layer: Layer): string {
  const longName = layer.longName === undefined ? "" : ` (${layer.longName})`;
  const lines = ["", `${layer.kind}: ${layer.name}${longName}`, `(${layer.path})`];
  for (const text of [layer.description, layer.configHelp]) {
    if (text !== undefined) lines.push(text.replace(/\n$/, ""));
  }
  return lines.join("\n") + "\n";
}

/** In alphabetical order, as scripts read them: each line is `key=value`. */
export function dumpConfig(): string {
  const { filterdir, plugindir } = moduleDirectories();
  const [major, minor] = version.split(".");
  return fields([
    ["binary", Bun.main],
    ["bindir", dirname(Bun.main)],
    ["exit_with_parent", "no"],
    ["filterdir", filterdir],
    ["host_cpu", hostCpu],
    ["host_os", "linux-gnu"],
    ["max_api_version", "2"],
    ["name", "nbdkit"],
    ["plugindir", plugindir],
    ["run_default_socket", "Unix"],
    ["selinux", "no"],
    ["soext", "so"],
    ["sysconfdir", "/etc"],
    ["timeout_option", "no"],
    ["tls", "no"],
    ["version", version],
    ["version_major", major],
    ["version_minor", minor],
    ["vsock_option", "no"],
    ["zstd", "no"],
  ]);
}

/** Lines of `key=value`, but for what has no value. */
export function fields(pairs: readonly (readonly [string, string | undefined])[]): string {
  return pairs
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${value}\n`)
    .join("");
}

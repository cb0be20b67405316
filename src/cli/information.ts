/** The output of --help, --version and --dump-config about this program and its layers. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";

import type { Layer } from "../chain/layer.ts";
import { hostCpu, moduleDirectories } from "../modules/directories.ts";
import { canTls } from "../server/tls.ts";
import { version, versionExtra } from "./version.ts";

const root = join(import.meta.dir, "..", "..");

export function versionLine(): string {
  return `nbdkit ${version} (${versionExtra})\n`;
}

/** One line for each layer, from the top. */
export function layerVersions(layers: readonly Layer[]): string {
  return layers.map((layer) => `${layer.name} ${layer.version ?? ""}`.trimEnd() + "\n").join("");
}

/** One paragraph for each layer, from the top, each followed by an empty line. */
export function layerHelp(layers: readonly Layer[]): string {
  return layers.map(helpOf).join("");
}

function helpOf(layer: Layer): string {
  const longName = layer.longName === undefined ? "" : ` (${layer.longName})`;
  const lines = [`${layer.kind}: ${layer.name}${longName}`, `(${layer.path})`];
  for (const text of [layer.description, layer.configHelp]) {
    if (text !== undefined) lines.push(text.replace(/\n$/, ""));
  }
  return lines.join("\n") + "\n\n";
}

/** nbdkit-probing(1): in alphabetical order, as scripts read them; each line is `key=value`. */
export function dumpConfig(): string {
  const { filterdir, plugindir } = moduleDirectories();
  const [major, minor] = version.split(".");
  const binary = join(root, "bin", "nbdkit");
  return fields([
    ["binary", binary],
    ["bindir", dirname(binary)],
    ["exit_with_parent", "yes"],
    ["filterdir", filterdir],
    ["host_cpu", hostCpu],
    ["host_os", "linux-gnu"],
    ["libdir", plugindir.replace(/(?:\/[^/]*){2}$/, "")],
    ["mandir", join(root, "man")],
    ["max_api_version", "2"],
    ["name", "nbdkit"],
    ["pkgconfigdir", pkgConfigFolder()],
    ["plugindir", plugindir],
    ["root_tls_certificates_dir", "/etc/pki/nbdkit"],
    ["run_default_socket", "Unix"],
    ["sbindir", dirname(binary)],
    ["selinux", "yes"],
    ["soext", "so"],
    ["sysconfdir", "/etc"],
    ["timeout_option", "yes"],
    ["tls", canTls() ? "yes" : "no"],
    ["version", version],
    ["version_extra", versionExtra],
    ["version_major", major],
    ["version_minor", minor],
    ["vsock_option", "yes"],
    ["zstd", "no"],
  ]);
}

/**
 * npm's install scripts add this machine's directories to a copy of the package's file. Without
 * the copy, the package's file is used.
 */
function pkgConfigFolder(): string {
  const folder = join(root, "share", "pkgconfig");
  return existsSync(join(folder, "nbdkit.pc")) ? folder : join(root, "include", "pkgconfig");
}

/** Lines of `key=value`; keys without a value are left out. */
export function fields(pairs: readonly (readonly [string, string | undefined])[]): string {
  return pairs
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${value}\n`)
    .join("");
}

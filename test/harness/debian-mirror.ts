/** Finds the mirror from which this machine gets Debian packages, in apt's list of sources. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface Mirror {
  readonly uri: string;
  /** The file with the keys that sign its releases. */
  readonly keyring: string;
  /** dpkg's name of the architecture. */
  readonly architecture: string;
}

const usualKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

interface Source {
  readonly uri: string;
  readonly suites: readonly string[];
  readonly components: readonly string[];
  readonly keyring: string | undefined;
}

/** The mirror with this machine's release; undefined if there is none, or the system is not Debian. */
export function debianMirror(folder = "/etc/apt"): Mirror | undefined {
  const codename = /^VERSION_CODENAME=(.*)$/m.exec(textOf("/etc/os-release"))?.[1];
  const architecture = { x64: "amd64", arm64: "arm64" }[process.arch as string];
  if (codename === undefined || architecture === undefined) return undefined;
  const source = sourcesIn(folder).find(
    ({ components, suites }) => suites.includes(codename) && components.includes("main"),
  );
  if (source === undefined) return undefined;
  const { keyring, uri } = source;
  return {
    uri,
    architecture,
    keyring: keyring !== undefined && existsSync(keyring) ? keyring : usualKeyring,
  };
}

function sourcesIn(folder: string): Source[] {
  const parts = join(folder, "sources.list.d");
  const files = existsSync(parts)
    ? readdirSync(parts)
        .toSorted()
        .map((name) => join(parts, name))
    : [];
  return [join(folder, "sources.list"), ...files].flatMap((path) => {
    if (path.endsWith(".list")) return textOf(path).split("\n").flatMap(lineSource);
    return path.endsWith(".sources")
      ? textOf(path)
          .split(/\n\s*\n/)
          .flatMap(paragraphSource)
      : [];
  });
}

/** `deb [options] URI SUITE COMPONENT...` */
function lineSource(line: string): Source[] {
  const [, options, rest] = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S.*)$/.exec(line.trim()) ?? [];
  const [uri, suite, ...components] = rest?.split(/\s+/) ?? [];
  if (uri === undefined || suite === undefined) return [];
  return [
    { uri, suites: [suite], components, keyring: /signed-by=(\S+)/.exec(options ?? "")?.[1] },
  ];
}

/** The same information as fields, one in each line. */
function paragraphSource(text: string): Source[] {
  const field = (name: string): string[] =>
    new RegExp(`^${name}:(.*)$`, "im").exec(text)?.[1]?.trim().split(/\s+/) ?? [];
  if (!field("Types").includes("deb") || field("Enabled").includes("no")) return [];
  const [keyring] = field("Signed-By");
  return field("URIs").map((uri) => ({
    uri,
    suites: field("Suites"),
    components: field("Components"),
    keyring,
  }));
}

function textOf(path: string): string {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

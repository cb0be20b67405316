/**
 * The newest nbdkit, libnbd and qemu: packages of Debian's next release, unpacked into a folder of their own, once on
 * each machine. Their programs run with that folder as root, where this project is mounted at its usual place.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";

import { debianMirror, type Mirror } from "./debian-mirror.ts";
import { installed } from "./server.ts";

const project = join(import.meta.dir, "..", "..");

/** Releases of Debian. The first one that the mirror has is used. */
const suites = ["forky", "sid"] as const;

/** These packages are unpacked with their dependencies. */
const packages = [
  ...["base-files", "coreutils", "dash", "libc-bin", "tar"],
  ...[
    "nbdkit",
    "nbdkit-plugin-lua",
    "nbdkit-plugin-perl",
    "nbdkit-plugin-python",
    "nbdkit-plugin-tcl",
  ],
  ...["libnbd-bin", "nbdkit-plugin-dev", "qemu-utils"],
];
/** These are unpacked without their dependencies, hundreds of megabytes, which inspecting them does not need. */
const alone = ["nbdkit-plugin-guestfs", "nbdkit-plugin-libvirt"];

export interface Newest {
  /** The folder with the packages. */
  readonly root: string;
  /** The prefix of a command that runs in there. /tmp and the project are the same inside and outside. */
  readonly inside: readonly string[];
  /** The command of the genuine server. */
  readonly nbdkit: readonly string[];
  /** The release of the genuine server, such as 1.48.1. */
  readonly release: string;
  readonly filters: readonly string[];
  readonly plugins: readonly string[];
  /** The path of a module in there. */
  module(kind: "filter" | "plugin", name: string): string;
}

/** The packages, or the reason why this machine cannot have them, in the form `(needs …)`. */
export async function newestDebian(): Promise<Newest | { readonly needs: string }> {
  const needs = lacking();
  if (needs !== undefined) return { needs: `(needs ${needs})` };
  const mirror = debianMirror();
  if (mirror === undefined) return { needs: "(needs a Debian mirror in apt's sources)" };
  const cache = join(
    process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"),
    "nbdkit-bun-tests",
  );
  const wanted = JSON.stringify([packages, alone, suites, mirror.architecture]);
  const root = join(cache, `newest-${Bun.hash(wanted).toString(16)}`);
  if (!existsSync(root)) {
    const failed = await build(cache, root, mirror);
    if (failed !== undefined)
      return { needs: `(needs a Debian mirror with ${suites.join(" or ")}: ${failed})` };
  }
  return describe(root);
}

function lacking(): string | undefined {
  if (process.getuid?.() !== 0) return "root";
  // The sanitizer's library needs this system's libc.
  if (process.env["SANITIZER_PREFIX"] !== undefined) return "no sanitizer";
  const missing = ["apt-get", "dpkg", "chroot", "unshare"].find((name) => !installed(name));
  if (missing !== undefined) return missing;
  const { success } = Bun.spawnSync(["unshare", "--mount", "true"], { stdin: "ignore" });
  return success ? undefined : "mount namespaces";
}

/** The mounts vanish with the command's namespace. The last two folders may have the native runtime. */
const enter = `
root=$1 project=$2 tmp=$3; shift 3
for path in /proc /dev "$tmp" "$project" /var/cache/nbdkit-bun "$HOME/.cache/nbdkit-bun"; do
  [ -d "$path" ] || continue
  mkdir -p "$root$path" && mount --rbind "$path" "$root$path" || exit 125
done
exec chroot "$root" "$@"
`;

function describe(root: string): Newest {
  const inside = ["unshare", "--mount", "sh", "-c", enter, "sh", root, project, tmpdir()];
  const library = readdirSync(join(root, "usr/lib")).find((name) =>
    existsSync(join(root, "usr/lib", name, "nbdkit/filters")),
  );
  const folder = join("/usr/lib", library ?? "", "nbdkit");
  const names = (kind: "filter" | "plugin") =>
    readdirSync(join(root, folder, `${kind}s`)).flatMap((file) => {
      const [, name] = new RegExp(`^nbdkit-(.*)-${kind}\\.so$`).exec(file) ?? [];
      return name === undefined ? [] : [name];
    });
  return {
    root,
    inside,
    nbdkit: [...inside, "nbdkit"],
    release: releaseIn(root),
    filters: names("filter").toSorted(),
    plugins: names("plugin").toSorted(),
    module: (kind, name) => join(folder, `${kind}s`, `nbdkit-${name}-${kind}.so`),
  };
}

/** The release in nbdkit-version.h. */
function releaseIn(root: string): string {
  const header = readFileSync(join(root, "usr/include/nbdkit-version.h"), "utf8");
  const number = (name: string) => new RegExp(`NBDKIT_VERSION_${name}\\s+(\\d+)`).exec(header)?.[1];
  return `${number("MAJOR")}.${number("MINOR")}.${number("MICRO")}`;
}

// ---- building

/** Unpack the packages, and rename the complete folder to `target`. Returns the reason if that fails. */
async function build(cache: string, target: string, mirror: Mirror): Promise<string | undefined> {
  mkdirSync(cache, { recursive: true });
  removeLeftOver(cache);
  const work = join(cache, `building-${process.pid}`);
  try {
    let failed: string | undefined;
    for (const suite of suites) {
      rmSync(work, { recursive: true, force: true });
      failed = await unpack(work, suite, mirror);
      if (failed === undefined) break;
    }
    if (failed !== undefined) return failed;
    try {
      renameSync(join(work, "root"), target);
    } catch (error) {
      // Another process was first.
      if (!existsSync(target)) throw error;
    }
    return undefined;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Remove unfinished folders of processes that have ended. */
function removeLeftOver(cache: string): void {
  for (const name of readdirSync(cache)) {
    const [, pid] = /^building-(\d+)$/.exec(name) ?? [];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) {
      rmSync(join(cache, name), { recursive: true, force: true });
    }
  }
}

async function unpack(work: string, suite: string, mirror: Mirror): Promise<string | undefined> {
  const { architecture, keyring, uri } = mirror;
  const folders = ["state/lists/partial", "cache/archives/partial", "sources", "root", "alone"];
  for (const folder of folders) mkdirSync(join(work, folder), { recursive: true });
  writeFileSync(join(work, "status"), "");
  const source = {
    Types: "deb",
    URIs: uri,
    Suites: suite,
    Components: "main",
    "Signed-By": keyring,
  };
  const lines = Object.entries(source).map(([key, value]) => `${key}: ${value}\n`);
  writeFileSync(join(work, "sources/newest.sources"), lines.join(""));
  const apt = (...args: string[]) =>
    ran(["apt-get", "-q", "-y", ...aptOptions(work, architecture), ...args], work);
  const failed =
    (await apt("update")) ??
    (await apt("install", "--download-only", ...packages)) ??
    (await ran(
      [
        "sh",
        "-c",
        'cd alone && exec "$@"',
        "sh",
        "apt-get",
        "-q",
        ...aptOptions(work, architecture),
        "download",
        ...alone,
      ],
      work,
    ));
  if (failed !== undefined) return failed;
  const archives = join(work, "cache/archives");
  const files = [archives, join(work, "alone")].flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.endsWith(".deb"))
      .map((name) => join(folder, name)),
  );
  // base-files has the links from /lib to /usr/lib and similar ones, which the other packages need.
  const first = (path: string) => (path.includes("/base-files_") ? 0 : 1);
  for (const file of files.toSorted((a, b) => first(a) - first(b))) {
    const unpacked = await ran(["dpkg", "-x", file, join(work, "root")], work);
    if (unpacked !== undefined) return unpacked;
  }
  return await ran(["chroot", join(work, "root"), "ldconfig"], work);
}

/** Give apt a state of its own. The machine's network settings still apply. */
function aptOptions(work: string, architecture: string): string[] {
  const options = {
    "Dir::State": join(work, "state"),
    "Dir::State::status": join(work, "status"),
    "Dir::Cache": join(work, "cache"),
    "Dir::Etc::sourcelist": "/dev/null",
    "Dir::Etc::sourceparts": join(work, "sources"),
    "Dir::Etc::preferences": "/dev/null",
    "Dir::Etc::preferencesparts": "/dev/null",
    "APT::Architecture": architecture,
    "APT::Architectures": architecture,
    "APT::Install-Recommends": "false",
    "APT::Keep-Downloaded-Packages": "true",
    "APT::Sandbox::User": "root",
    "Acquire::Languages": "none",
    "Acquire::Retries": "1",
    "Acquire::http::Timeout": "15",
  };
  return Object.entries(options).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
}

/** Run a command. Returns the last line of its messages if it fails. */
async function ran(command: readonly string[], cwd: string): Promise<string | undefined> {
  const child = Bun.spawn([...command], {
    cwd,
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
    timeout: 300_000,
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  });
  const [stderr, code] = await Promise.all([new Response(child.stderr).text(), child.exited]);
  if (code === 0) return undefined;
  return `${command[0]} ended with ${code}: ${stderr.trim().split("\n").at(-1)}`;
}

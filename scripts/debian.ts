/** Installs Debian packages if this user may, and otherwise lists the missing ones. */

/** The packages that tests need, with the tests that are skipped without them. */
export const testPackages: Readonly<Record<string, string>> = {
  bsdutils: "tests of what terminals show (script)",
  clang: "compiling the headers in every form with another compiler",
  dosfstools: "the genuine floppy plugin, whose file system fsck.vfat reads",
  e2fsprogs: "tests with ext4 file systems",
  fdisk: "tests with partition tables (sfdisk)",
  fuse3: "tests with a disk that does not answer (a file system in FUSE)",
  gcc: "everything that loads C modules",
  "g++": "a module in C++",
  gdb: "stack traces of crashed C modules",
  "gnutls-bin": "TLS tests with certificates",
  jq: "the genuine cdi plugin, which reads manifests with it",
  "libc6-dev": "everything that loads C modules",
  "libfuse3-dev": "tests with a disk that does not answer",
  "libgnutls28-dev": "comparisons with the headers of GnuTLS",
  "libnbd-bin": "tests with the clients nbdinfo and nbdcopy",
  "libselinux1-dev": "comparisons with the headers of SELinux",
  "libsqlite3-dev": "a module that brings SQLite",
  "libssl-dev": "a module that brings OpenSSL",
  "libuv1-dev": "a module that brings libuv",
  "man-db": "showing the manual pages",
  mandoc: "checks of the manual pages",
  "nbd-client": "tests with the client nbd-client",
  nbdkit: "comparisons with the genuine nbdkit and its modules",
  "nbdkit-plugin-dev": "comparisons with the genuine headers",
  "nbdkit-plugin-perl": "the genuine example4 plugin, a script in Perl",
  "openssh-client": "the genuine ssh plugin's keys",
  "openssh-server": "the genuine ssh plugin's server",
  parted: "tests with partition tables (parted)",
  pkgconf: "compiling a C filter with nbdkit.pc",
  podman: "the genuine cdi plugin, which fetches images with it",
  "python3-libnbd": "tests with the client nbdsh",
  "qemu-utils": "tests with the clients qemu-img and qemu-io",
  systemd: "tests of the systemd units",
  valgrind: "memory checks of the native runtime",
  xorriso: "the genuine iso plugin",
  "xz-utils": "the genuine xz filter's files",
  "zlib1g-dev": "a module that brings zlib",
  zsh: "tests of the completion for zsh",
};

/** The packages of `wanted` that are not installed; all of them if this is not Debian. */
export function missingPackages(wanted: readonly string[]): string[] {
  if (Bun.which("dpkg-query") === null) return [...wanted];
  const { stdout } = run(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", ...wanted]);
  const installed = new Set(
    stdout.split("\n").flatMap((line) => {
      const [status, name] = line.split(" ");
      return status === "installed" && name !== undefined ? [name] : [];
    }),
  );
  return wanted.filter((name) => !installed.has(name));
}

/** Install the missing packages of `wanted`, and return those that are still missing. */
export function installPackages(
  wanted: readonly string[],
  say: (line: string) => void,
): readonly string[] {
  const missing = missingPackages(wanted);
  if (missing.length === 0) return missing;
  const prefix = Bun.which("apt-get") === null ? undefined : rootPrefix();
  if (prefix === undefined) return missing;
  say(`installing Debian packages: ${missing.join(" ")}`);
  aptGet(prefix, ["update"], say);
  if (!aptGet(prefix, ["install", ...missing], say) && missing.length > 1) {
    // One unknown name makes apt-get install none of them: try each alone.
    for (const name of missing) aptGet(prefix, ["install", name], say);
  }
  return missingPackages(missing);
}

/** The prefix that runs a command as root, or undefined if this user may not. */
function rootPrefix(): string[] | undefined {
  if (process.getuid?.() === 0) return [];
  if (Bun.which("sudo") === null) return undefined;
  return run(["sudo", "-n", "true"]).code === 0 ? ["sudo", "-n"] : undefined;
}

const APT_GET = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"];
const APT_OPTIONS = ["--no-install-recommends", "-o", "DPkg::Lock::Timeout=120"];

function aptGet(prefix: readonly string[], args: readonly string[], say: (line: string) => void) {
  const { code, stderr } = run([...prefix, ...APT_GET, ...APT_OPTIONS, ...args]);
  if (code !== 0) say(`apt-get ${args.join(" ")} failed: ${stderr.trim()}`);
  return code === 0;
}

function run(command: readonly string[]): { code: number; stdout: string; stderr: string } {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...command], {
    stdin: "ignore",
    stderr: "pipe",
    timeout: 600_000,
  });
  return { code: exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

/** Tests of the installer, with stand-ins for Debian's commands first in the search path. */
import { expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

// The stand-ins know the packages in `known`, and keep those installed in `installed`.
const standIns = {
  "dpkg-query": `for name; do grep -qxF "$name" "$HERE/installed" && echo "installed $name"; done; true`,
  "apt-get": `echo "$*" >> "$HERE/log"
    case "$*" in *" update") exit 0;; esac
    while [ "$1" != install ]; do shift; done; shift
    for name; do grep -qxF "$name" "$HERE/known" || { echo "no package $name" >&2; exit 100; }; done
    for name; do echo "$name" >> "$HERE/installed"; done`,
  sudo: `[ "$1" = -n ] || exit 1; shift; exec "$@"`,
};

async function install(wanted: readonly string[], known: string, installed: string) {
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-debian-"));
  try {
    for (const [name, script] of Object.entries(standIns)) {
      writeFileSync(join(folder, name), `#!/bin/sh\nHERE=${folder}\n${script}\n`);
      chmodSync(join(folder, name), 0o755);
    }
    writeFileSync(join(folder, "known"), known);
    writeFileSync(join(folder, "installed"), installed);
    writeFileSync(join(folder, "log"), "");
    const program = `import { installPackages } from ${JSON.stringify(join(import.meta.dirname, "debian.ts"))};
      const said = [];
      const missing = installPackages(${JSON.stringify(wanted)}, (line) => said.push(line));
      process.stdout.write(JSON.stringify({ missing, said }));`;
    await using child = Bun.spawn([process.execPath, "-e", program], {
      env: { ...process.env, PATH: `${folder}:/usr/bin:/bin` },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    expect({ code: await child.exited, stderr }).toEqual({ code: 0, stderr: "" });
    const calls = readFileSync(join(folder, "log"), "utf8").trim().split("\n");
    const result = JSON.parse(stdout) as { missing: string[]; said: string[] };
    return { ...result, calls: calls.map((call) => call.split("=120 ").pop() ?? "") };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("installs the missing packages, after one update", async () => {
  expect(await install(["gcc", "gdb", "parted"], "gcc\ngdb\nparted\n", "gdb\n")).toEqual({
    missing: [],
    said: ["installing Debian packages: gcc parted"],
    calls: ["update", "install gcc parted"],
  });
});

test("does not call apt if all packages are installed", async () => {
  expect(await install(["gcc"], "", "gcc\n")).toEqual({ missing: [], said: [], calls: [""] });
});

test("installs the others if one has no candidate, and returns that one", async () => {
  expect(await install(["gcc", "odd"], "gcc\n", "")).toEqual({
    missing: ["odd"],
    said: [
      "installing Debian packages: gcc odd",
      "apt-get install gcc odd failed: no package odd",
      "apt-get install odd failed: no package odd",
    ],
    calls: ["update", "install gcc odd", "install gcc", "install odd"],
  });
});

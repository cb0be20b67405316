/** Makes Bun's program usable if npm does not run the install scripts of packages. */
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** In this folder's node_modules, or next to this package if it is itself a dependency. */
function bunFolder() {
  try {
    return dirname(createRequire(import.meta.url).resolve("bun/package.json"));
  } catch {
    return undefined;
  }
}

const folder = bunFolder();
const works = () =>
  spawnSync(join(folder, "bin", "bun.exe"), ["--version"], { stdio: "ignore" }).status === 0;

if (folder !== undefined && !works()) {
  const { status } = spawnSync(process.execPath, ["install.js"], { cwd: folder, stdio: "inherit" });
  if (status !== 0 || !works()) {
    process.stderr.write(`nbdkit: cannot set up Bun: run \`node ${join(folder, "install.js")}\`\n`);
    process.exitCode = 1;
  }
}

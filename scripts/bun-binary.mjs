/** Makes node_modules/.bin/bun usable where npm was told not to run the install scripts of packages. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

const folder = join(import.meta.dirname, "..", "node_modules", "bun");
const works = () =>
  spawnSync(join(folder, "bin", "bun.exe"), ["--version"], { stdio: "ignore" }).status === 0;

if (existsSync(folder) && !works()) {
  const { status } = spawnSync(process.execPath, ["install.js"], { cwd: folder, stdio: "inherit" });
  if (status !== 0 || !works()) {
    process.stderr.write(
      "nbdkit: cannot set up node_modules/bun: run `node node_modules/bun/install.js`\n",
    );
    process.exitCode = 1;
  }
}

/**
 * Writes share/pkgconfig/nbdkit.pc for the place where this package is installed:
 * include/pkgconfig/nbdkit.pc, with which C authors compile, and the directories that the server
 * of this machine looks for modules in.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const general = join(root, "include", "pkgconfig", "nbdkit.pc");
const file = join(root, "share", "pkgconfig", "nbdkit.pc");

const { status, stdout } = spawnSync(join(root, "bin", "nbdkit"), ["--dump-config"], {
  encoding: "utf8",
  stdio: ["ignore", "pipe", "inherit"],
});
if (status === 0) {
  const config = new Map(stdout.split("\n").map((line) => line.split(/=(.*)/s)));
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, contents(readFileSync(general, "utf8"), config));
} else {
  // C authors can use the other file.
  process.stderr.write(`nbdkit: ${file} was not written: \`nbdkit --dump-config\` failed\n`);
}

/** Quoted as pkg-config reads values: it takes a backslash, and # starts a comment. */
function quoted(path) {
  return path.replaceAll(/[\s#"'\\]/g, String.raw`\$&`);
}

function contents(text, config) {
  const directories = ["libdir", "plugindir", "filterdir"].map(
    (name) => `${name}=${quoted(config.get(name))}\n`,
  );
  return text
    .replace(/^prefix=.*$/m, () => `prefix=${quoted(root)}`)
    .replace(/^includedir=.*\n/m, (line) => line + directories.join(""));
}

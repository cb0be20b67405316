/**
 * Writes share/pkgconfig/nbdkit.pc for the place where this package is installed: C authors compile with it. The
 * folders are those that the server itself looks in.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const file = join(root, "share", "pkgconfig", "nbdkit.pc");

const { status, stdout } = spawnSync(join(root, "bin", "nbdkit"), ["--dump-config"], {
  encoding: "utf8",
  stdio: ["ignore", "pipe", "inherit"],
});
if (status === 0) {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, contents(new Map(stdout.split("\n").map((line) => line.split(/=(.*)/s)))));
} else {
  // The server works without it.
  process.stderr.write(`nbdkit: ${file} is not written: \`nbdkit --dump-config\` fails\n`);
}

/** Quoted as pkg-config reads values: it takes a backslash, and # starts a comment. */
function quoted(path) {
  return path.replaceAll(/[\s#"'\\]/g, String.raw`\$&`);
}

function contents(config) {
  return `prefix=${quoted(root)}
includedir=\${prefix}/include
libdir=${quoted(config.get("libdir"))}
plugindir=${quoted(config.get("plugindir"))}
filterdir=${quoted(config.get("filterdir"))}
generation=M

Name: nbdkit
Description: Filters and plugins for an NBD server
Version: ${config.get("version")}
Cflags: -I\${includedir} -DNBDKIT_FILTER_GENERATION_DEFAULT=NBDKIT_GENERATION_\${generation}
Libs:
`;
}

/**
 * A folder full of files that Bun, Node, npm, a shell, a compiler or a loader reads from the current folder, a folder
 * above it, or the home. If one of them runs, it makes a file with its name in `markers`.
 */
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { compileModule, haveCompiler } from "#test/modules";

const root = join(import.meta.dir, "../..");

/** Programs that the server, its launcher, npm or a compiler starts. */
const programs = [
  "as",
  "bun",
  "bun.exe",
  "bunx",
  "cc",
  "cc1",
  "collect2",
  "gcc",
  "id",
  "ld",
  "mktemp",
  "nbdkit",
  "node",
  "npm",
  "readlink",
  "sh",
  "stat",
];

/** Libraries that the server, Bun or a compiler loads. A system may lack some. */
const libraries = [
  "libc.musl-x86_64.so.1",
  "libc.so",
  "libc.so.6",
  "libdl.so.2",
  "libgnutls.so.30",
  "libm.so.6",
  "libnbdkit-trap.so",
  "libpthread.so.0",
  "libselinux.so.1",
];

/** Names that the server's own files and its modules import. */
const imported = [
  "#api",
  "#sys/process",
  "#lib/log",
  "bun",
  "bun:ffi",
  "commander",
  "nbdkit",
  "node:fs",
  "node:path",
  "process",
];

const dotenv = [
  ".env",
  ".env.development",
  ".env.development.local",
  ".env.local",
  ".env.production",
  ".env.production.local",
  ".env.test",
];

export class Traps implements Disposable {
  readonly path: string;
  readonly #markers: string;

  private constructor(path: string) {
    this.path = path;
    this.#markers = join(path, "markers");
    mkdirSync(this.#markers);
  }

  /** Makes a temporary folder that every user may enter. */
  static async make(): Promise<Traps> {
    const path = mkdtempSync(join(tmpdir(), "nbdkit-hostile-"));
    chmodSync(path, 0o755);
    const traps = new Traps(path);
    await traps.plant(path);
    return traps;
  }

  /** The names of the traps that have run since the last call. */
  sprung(): readonly string[] {
    const names = readdirSync(this.#markers);
    for (const name of names) rmSync(join(this.#markers, name));
    return names.toSorted();
  }

  /** Adds all traps to `folder`. */
  async plant(folder: string): Promise<void> {
    this.#plantConfigurations(folder);
    this.#plantPackages(join(folder, "node_modules"));
    this.#plantPrograms(folder);
    if (haveCompiler) await this.#plantLibraries(folder);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }

  #write(path: string, content: string | object, mode = 0o644): void {
    mkdirSync(dirname(path), { recursive: true });
    const text = typeof content === "string" ? content : JSON.stringify(content, undefined, 2);
    writeFileSync(path, text, { mode });
  }

  /** A script that runs in Bun, in Node and as a macro. */
  #script(name: string): string {
    const marker = JSON.stringify(join(this.#markers, name));
    return `(globalThis.process ?? {}).getBuiltinModule?.("fs").writeFileSync(${marker}, "");\nexport default {};\n`;
  }

  #shell(name: string): string {
    return `#!/bin/sh\n: >'${join(this.#markers, name)}'\nexit 1\n`;
  }

  #plantConfigurations(folder: string): void {
    const put = (name: string, content: string | object, mode?: number) =>
      this.#write(join(folder, name), content, mode);
    const paths = (name: string) => ({
      compilerOptions: {
        baseUrl: ".",
        paths: Object.fromEntries(["*", "./*", ...imported].map((it) => [it, [`./${name}`]])),
        jsxImportSource: `./${name}`,
      },
    });
    put("by-tsconfig.ts", this.#script("tsconfig.json"));
    put("tsconfig.json", paths("by-tsconfig.ts"));
    put("by-jsconfig.ts", this.#script("jsconfig.json"));
    put("jsconfig.json", paths("by-jsconfig.ts"));
    put("by-bunfig.ts", this.#script("bunfig.toml"));
    const bunfig = 'preload = ["./by-bunfig.ts"]\n[run]\npreload = ["./by-bunfig.ts"]\n';
    for (const name of ["bunfig.toml", ".bunfig.toml"]) put(name, bunfig);
    put("by-package.ts", this.#script("package.json"));
    put("package.json", {
      name: "nbdkit",
      type: "module",
      main: "./by-package.ts",
      exports: "./by-package.ts",
      imports: Object.fromEntries(["#*", "#api"].map((it) => [it, "./by-package.ts"])),
      browser: Object.fromEntries(imported.map((it) => [it, "./by-package.ts"])),
      bun: { preload: ["./by-package.ts"] },
      scripts: Object.fromEntries(
        ["start", "nbdkit", "preinstall", join(root, "src/main.ts")].map((it) => [it, "./sh"]),
      ),
      workspaces: ["*"],
    });
    put("by-env.ts", this.#script("env"));
    const preload = join(folder, "by-env.ts");
    const variables = [
      `BUN_OPTIONS=--preload=${preload}`,
      `BUN_INSPECT_PRELOAD=${preload}`,
      `NODE_OPTIONS=--require=${preload}`,
      `NBDKIT_PLUGINDIR=${folder}`,
      `LD_PRELOAD=${join(folder, "libc.so")}`,
      `CC=${join(folder, "cc")}`,
    ];
    for (const name of dotenv) put(name, `${variables.join("\n")}\n`);
    put(".npmrc", `node-options=--require=${preload}\nscript-shell=./sh\n`);
    for (const name of ["bun.lock", "bun.lockb", "package-lock.json", "yarn.lock"]) put(name, "{");
    for (const name of ["index", "main", "preload", "nbdkit", "memory", "file", "offset"]) {
      for (const end of ["ts", "js", "mjs"]) put(`${name}.${end}`, this.#script(`${name}.${end}`));
    }
    put(".pnp.cjs", this.#script("pnp"));
  }

  #plantPackages(folder: string): void {
    for (const name of imported.filter((it) => !it.startsWith("#"))) {
      const marker = `node_modules ${name.replaceAll("/", " ")}`;
      // A CommonJS module runs even if an imported name is missing.
      const script = this.#script(marker).replace("export default", "module.exports =");
      this.#write(join(folder, name, "index.cjs"), script);
      this.#write(join(folder, name, "package.json"), { name, main: "index.cjs" });
    }
    this.#write(join(folder, "bun/bin/bun.exe"), this.#shell("node_modules bun.exe"), 0o755);
  }

  #plantPrograms(folder: string): void {
    for (const name of programs) {
      for (const place of [".", "bin", "node_modules/.bin"]) {
        this.#write(join(folder, place, name), this.#shell(`program ${name}`), 0o755);
      }
    }
  }

  async #plantLibraries(folder: string): Promise<void> {
    const source = join(this.path, "trap.c");
    const marker = JSON.stringify(join(this.#markers, "library"));
    this.#write(
      source,
      `#include <fcntl.h>
__attribute__ ((constructor)) static void run (void) { open (${marker}, O_CREAT | O_WRONLY, 0600); }
int nothing (void) { return 0; }
`,
    );
    const library = await compileModule(source, { flags: ["-D_GNU_SOURCE"] });
    for (const name of libraries) cpSync(library, join(folder, name));
  }
}

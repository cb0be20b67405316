/** Bytes that are not UTF-8, where nbdkit differs or has no such feature: bytes-parity.test.ts has the rest. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { compileModule, haveCompiler } from "#test/modules";
import { installed, type Ran } from "#test/server";
import { nbdkitFunction, quote, runScript } from "#test/shell";

setDefaultTimeout(60_000);

const clients = installed("nbdinfo") && installed("nbdcopy");

let folder = "";
beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "nb-")));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs the script in a new folder. `[E9]` stands for that byte. */
function shell(script: string): Promise<Ran> {
  const start = `cd ${quote(folder)} && rm -rf w && mkdir w && cd w || exit 1\n`;
  return runScript(nbdkitFunction() + start + script, join(folder, "script"));
}

const disk = String.raw`
export default definePlugin({
  name: "odd",
  config(_config, key, value) { process.stderr.write(JSON.stringify([key, value]) + "\n"); },
  open: (_config, _readonly, name) => process.stderr.write(JSON.stringify(name) + "\n"),
  listExports(_config, _readonly, _isTls, exports) { exports.add("a\udcff\n", "b\udcfe"); },
  getSize: () => size,
  pread(_handle, buf) { buf.fill(0); },
});`;

test.skipIf(!clients)(
  "a script plugin and its imports may have any path (needs nbdinfo)",
  async () => {
    const result = await shell(String.raw`
    mkdir in[E9] in[E9]/deeper
    cat >in[E9]/disk[E9].ts <<'END'
import { definePlugin } from "nbdkit";
import { join } from "node:path";
import { size } from "./deeper/../deeper/size.ts";
${disk}
END
    echo 'import { unit } from "../unit.ts"; export const size: bigint = 2n * unit;' >in[E9]/deeper/size.ts
    echo 'export const unit = 512n;' >in[E9]/unit.ts
    ln -s in[E9]/disk[E9].ts link.ts
    nbdkit -U - ./in[E9]/disk[E9].ts 'a=[E9]"' -e [E9]x --run 'nbdinfo --size "$uri"'
    nbdkit -U - ./link.ts --run 'nbdinfo --size "$uri"; nbdinfo --list "$uri" | grep -a -e export= -e desc'
    cd in[E9] && nbdkit -U - ./disk[E9].ts --run 'nbdinfo --size "$uri"'`);
    expect(result).toEqual({
      code: 0,
      stdout: '1024\n1024\nexport="a\udcff\\u000a":\n\tdescription: b\udcfe\n1024\n',
      stderr: `["a","\\udce9\\""]\n"\\udce9x"\n""\n"a\\udcff\\n"\n""\n`,
    });
  },
);

test("an error in a script plugin names its path", async () => {
  const result = await shell(String.raw`
    echo 'export default {' >open[E9].ts
    nbdkit ./open[E9].ts
    echo 'throw new Error("as asked")' >throws[E9].ts
    nbdkit ./throws[E9].ts
    echo 'import "./none.ts"' >lacks[E9].ts
    nbdkit ./lacks[E9].ts
    nbdkit ./none[E9].ts`);
  const odd = (name: string) => `${folder}/w/${name}\udce9.ts`;
  const cannot = (name: string) =>
    `nbdkit: error: ${folder}/w/${name}\udce9.ts: the module cannot be loaded: `;
  expect(result.stdout).toBe("");
  expect(result.code).toBe(1);
  expect(result.stderr.replaceAll(/^ +at (?!\/).*\n/gm, "")).toBe(
    `${cannot("open")}${odd("open")}:1:17: Expected identifier but found end of file\n` +
      `${cannot("throws")}Error: as asked\n    at ${odd("throws")}:1:11\n` +
      `${cannot("lacks")}Cannot find module './none.ts' imported from ${odd("lacks")}\n` +
      "nbdkit: error: ./none\udce9.ts: there is no such plugin file\n",
  );
});

test.skipIf(!clients)("--listen decodes any byte but NUL (needs nbdinfo)", async () => {
  const result = await shell(String.raw`
    nbdkit --listen 'nbd+unix:///?socket=s%E9[E9]%C3%A9' null --run 'printf %s "$unixsocket"; ls; nbdinfo --size "$uri"'
    nbdkit --listen 'nbd+unix:///?socket=%00s' null
    nbdkit --listen 'nbd+unix:///?socket=%E' null`);
  const wrong = (uri: string) =>
    `nbdkit: error: option --listen: "nbd+unix:///?socket=${uri}": expected a path with correct percent signs\n`;
  expect(result).toEqual({
    code: 1,
    stdout: `${folder}/w/s\udce9\udce9és\udce9\udce9é\n0\n`,
    stderr: wrong("%00s") + wrong("%E"),
  });
});

test.skipIf(!clients)(
  "--print-uri prints a URI that any client accepts (needs nbdinfo)",
  async () => {
    const result = await shell(String.raw`
    nbdkit -U 's [E9]' -e "'" --print-uri null --run true`);
    const uri = `nbd+unix:///%27?socket=${folder}/w/s%20%E9`;
    const printed = `${uri}\nShell-quoted URI: "${uri}"\nCommand to query the NBD endpoint:\n  nbdinfo "${uri}"\n`;
    expect(result).toEqual({ code: 0, stdout: printed, stderr: "" });
  },
);

test.skipIf(!clients)(
  "--log, TMPDIR and parameters of filters accept any path (needs nbdcopy)",
  async () => {
    const result = await shell(String.raw`
    nbdkit --log="$PWD/log[E9]" nosuch
    sed 's/:[^:]*$//' log[E9]
    mkdir temp[E9]
    TMPDIR="$PWD/temp[E9]" nbdkit -U - --filter=cow memory 1M --run 'nbdcopy --destination-is-zero -- /bin/sh "$uri" && echo copied'
    TMPDIR="$PWD/none[E9]" nbdkit -U - --filter=cow memory 1M --run true 2>&1 | sed 's/nbdkit-cow-.*: /FILE: /' >&2
    errors() { nbdkit -U - --filter=error memory 1M error-rate=1 error-file=bad[E9] --run 'nbdcopy "$uri" null:' 2>/dev/null; echo $?; }
    errors
    >bad[E9]
    errors`);
    expect(result).toEqual({
      code: 0,
      stdout: 'nbdkit: error: there is no plugin named "nosuch"\ncopied\n0\n1\n',
      stderr: `nbdkit: error: cow: cannot create the temporary file ${folder}/w/none\udce9/FILE: No such file or directory\n`,
    });
  },
);

test("a plugin that is a program may have any path, and gets its arguments byte by byte", async () => {
  const result = await shell(String.raw`
    mkdir plugins[E9]
    printf '#!/bin/sh\nprintf "%%s|" "$0" "$@"\n' >plugins[E9]/nbdkit-words-plugin
    chmod +x plugins[E9]/nbdkit-words-plugin
    export NBDKIT_PLUGINDIR="$PWD/plugins[E9]"
    nbdkit words -e [E9] a=[E9] -f -- -[E9]
    nbdkit --dump-config | sed -n 's/^plugindir=//p;s/^libdir=//p'
    nbdkit words[E9]`);
  const plugins = `${folder}/w/plugins\udce9`;
  const words = "--exportname=\udce9|--foreground|--|a=\udce9|-\udce9|";
  expect(result.code).toBe(1);
  expect(result.stdout).toBe(`${plugins}/nbdkit-words-plugin|${words}${folder}\n${plugins}\n`);
  expect(result.stderr).toStartWith(`nbdkit: error: there is no plugin named "words\udce9": `);
  expect(result.stderr).toEndWith(`${plugins}/nbdkit-words\udce9-plugin.so: did you mean words?\n`);
});

test("--run reports E2BIG for a command that is too long", async () => {
  const result = await shell(String.raw`
    nbdkit -U - null --run "$(head -c 131000 /dev/zero | tr '\0' x)"`);
  expect(result).toEqual({
    code: 1,
    stdout: "",
    stderr: "nbdkit: error: option --run: cannot start the command: Argument list too long\n",
  });
});

test("a module path through a file, or one that is too long, is refused with the system's error", async () => {
  const result = await shell(String.raw`
    >file[E9]
    nbdkit ./file[E9]/x.so
    nbdkit ./file/x.so
    nbdkit ./"$(head -c 300 /dev/zero | tr '\0' x)"`);
  expect(result).toEqual({
    code: 1,
    stdout: "",
    stderr:
      "nbdkit: error: ./file\udce9/x.so: Not a directory\n" +
      "nbdkit: error: ./file/x.so: there is no such plugin file\n" +
      `nbdkit: error: ./${"x".repeat(300)}: File name too long\n`,
  });
});

test("a relative path is refused if the current folder is gone", async () => {
  const result = await shell(String.raw`
    mkdir gone; cd gone; rmdir ../gone
    for words in '-U x null' '-P x null' '--tls-psk=x null' 'file x' './x.so' '--filter=./x.so null'; do
      nbdkit $words
    done
    cd "$OLDPWD"`);
  const gone = (path: string) =>
    `nbdkit: error: ${path}: the current folder is gone: expected a path that starts with /\n`;
  expect(result).toEqual({
    code: 0,
    stdout: "",
    stderr: [...["x", "x", "x", "file: x", "./x.so", "./x.so"].map(gone)].join(""),
  });
});

test.skipIf(!clients || !haveCompiler)(
  "an export name cannot forge a line of the log (needs cc, nbdinfo)",
  async () => {
    const naming = await compileModule("test/fixtures/naming.c");
    const result = await shell(String.raw`
      name=$(printf 'x\nnbdkit: error: forged')
      cat >naming.ts <<'END'
import { definePlugin, NbdError } from "nbdkit";
export default definePlugin({
  name: "naming",
  open(_config, _readonly, name) { throw new NbdError("ENOENT", "no " + name); },
  getSize: () => 0n,
  pread() {},
});
END
      for plugin in ./naming.ts ${quote(naming)} "file dir=."; do
        nbdkit -U - -e "$name" $plugin --run 'nbdinfo --size "$uri" 2>/dev/null'
      done`);
    const lines = result.stderr.split("\n");
    expect(lines.filter((line) => line.startsWith("nbdkit: error: "))).toEqual([]);
    expect(lines.filter((line) => line.startsWith("  nbdkit: error: forged")).length).toBe(3);
    expect(result.code).toBe(1);
  },
);

/** Control characters of each kind (ASCII, DEL, and C1 in UTF-8), then © and a byte that is not UTF-8. */
const controls = String.raw`a
b[09][1B][7F][C2][9B][C2][A9][E9]`;

test.skipIf(!haveCompiler || !clients)(
  "the log escapes control characters, except line feeds and tabs in errors (needs cc, nbdinfo)",
  async () => {
    const bytes = await compileModule("test/fixtures/bytes.c");
    const result = await shell(String.raw`
    bytes=${quote(bytes)}
    nbdkit "$bytes" 'error=${controls}' 2>&1 | sed 1d
    nbdkit -v "$bytes" 'debug=${controls}' --dump-plugin 2>&1 | grep -a -e debug=  -e value= -e asked
    nbdkit ./'none${controls}'
    nbdkit --tls='${controls}'
    nbdkit -v -U - -e '${controls}' null --run 'nbdinfo --size "$uri"' 2>&1 | grep -a -e '0m' -e requested.export -e ' open readonly' | sort -u`);
    const lines = "a\nb\t\\x1b\\x7f\\u009b©\udce9";
    const one = "a\\nb\\t\\x1b\\x7f\\u009b©\udce9";
    expect(result).toEqual({
      code: 0,
      stdout:
        `nbdkit: error: as asked: ${lines}\n` +
        `nbdkit: debug: bytes: config key=debug, value=${one}\n` +
        `nbdkit: debug: as asked: ${one}\n` +
        `nbdkit: null[1]: debug: newstyle negotiation: NBD_OPT_GO: client requested export '${one}'\n` +
        `nbdkit: null[1]: debug: null: open readonly=0 exportname="${one}" tls=0\n`,
      stderr:
        `nbdkit: error: ./none${lines}: there is no such plugin file\n` +
        `nbdkit: error: option --tls: "${one}": expected off, on or require\n`,
    });
  },
);

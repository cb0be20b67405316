/** Command lines with arbitrary bytes do the same here as in nbdkit, byte by byte. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { compileModule, haveCompiler } from "#test/modules";
import { installed, program } from "#test/server";
import { nbdkitFunction, quote, runScript } from "#test/shell";

/**
 * Shell commands. Each runs in a folder of its own and has its socket there, since nbdkit leaves the
 * folder of -U - behind when it exits early. `[E9]` stands for that byte, which is not UTF-8. `SIZE`
 * prints the size that a client gets, and `$bytes` is a C plugin that prints its parameters.
 */
const lines = String.raw`
nbdkit -U $folder/u null --run 'printf "%s" "a[E9]b\\[E9]\0101\n"; echo "$0"'
nbdkit -U $folder/u null --run 'printf "%s|" '\''[E9][C3][A9]\n'\''; exit 7'
nbdkit -U $folder/u null --run '[E9]
echo "and then: $?"' 2>/dev/null
nbdkit -U $folder/u null --run 'printf "%s|" "$variable"'
nbdkit -U $folder/u null -e [E9] --run 'printf "%s|" "$exportname" "$uri" | sed s/socket=.*//'
nbdkit -U $folder/u null -e '' --run 'printf "%s|" "$exportname" "$uri" | sed s/socket=.*//'
nbdkit -U $folder/u null -e ' a "b" c ' --run 'printf "%s|" "$exportname" "$uri" | sed s/socket=.*//'
nbdkit -U $folder/u null -e '$(exit 3)[60]exit 4[60]$x' --run 'printf "%s|" "$exportname" "$uri" | sed s/socket=.*//'
nbdkit -U $folder/u null -e "it's a\b" --run 'printf "%s|" "$exportname" "$uri" | sed s/socket=.*//'
nbdkit -U $folder/u null -e '~-_.!*()/?#&=%@:+;,' --run 'printf "%s|" "$exportname" "$uri" | sed s/socket=.*//'
nbdkit -U $folder/u null -e "$(printf 'a\nb\tc\033')" --run 'printf "%s|" "$exportname" "$uri" | sed s/socket=.*//'
nbdkit -U $folder/u null -e "$(head -c 4096 /dev/zero | tr '\0' [E9])" --run 'printf %s "$exportname" | wc -c; SIZE'
nbdkit -U $folder/u null --run ": $(head -c 120000 /dev/zero | tr '\0' [E9]); echo long"
nbdkit -U $folder/u null --run ": $(head -c 131000 /dev/zero | tr '\0' x); echo longer"
nbdkit -U s[E9] null --run 'printf "%s|" "$unixsocket" "$uri"; ls s*; SIZE'
nbdkit -U 's a:b=$x"%41' null --run 'printf "%s|" "$unixsocket" "$uri"; ls s*; SIZE'
nbdkit -U ./s null --run 'printf "%s|" "$unixsocket" "$uri"; SIZE'
nbdkit -U link/../s null --run 'printf "%s|" "$unixsocket" "$uri"; SIZE; ls folder'
nbdkit -U $(path 107) null --run 'SIZE'
nbdkit -U $(path 108) null --run 'SIZE'
nbdkit -U $(path 106)[E9] null --run 'SIZE'
nbdkit -U $(path 106)[C3][A9] null --run 'SIZE'
nbdkit -U $folder/u file file[E9] --run 'SIZE'
nbdkit -U $folder/u file file=file[E9] --run 'SIZE'
nbdkit -U $folder/u file no[E9] --run 'SIZE'
nbdkit -U $folder/u file folder/../file[E9] --run 'SIZE'
nbdkit -U $folder/u file link/../inner --run 'SIZE'
nbdkit -U $folder/u file --run 'SIZE' -- -r
nbdkit -U $folder/u file ./-r --run 'SIZE'
nbdkit -U $folder/u file a=b --run 'SIZE'
nbdkit -U $folder/u file ./a=b --run 'SIZE'
nbdkit -U $folder/u file file=a=b --run 'SIZE'
nbdkit -U $folder/u file a:b --run 'SIZE'
nbdkit -U $folder/u file 1=2 --run 'SIZE'
nbdkit -U $folder/u file "$(printf 'a\nb')" --run 'SIZE'
nbdkit -U $folder/u file '' --run 'SIZE'
nbdkit -U $folder/u file file= --run 'SIZE'
nbdkit -U $folder/u file dir=folder[E9] --run 'LIST'
nbdkit -U $folder/u file dir=folder[E9] -e inner[E9] --run 'SIZE'
nbdkit -U $folder/u null '' --run 'SIZE'
nbdkit -U $folder/u null =1 --run 'SIZE'
nbdkit -U $folder/u null ' ' --run 'SIZE'
nbdkit -U $folder/u null size=1 =1 --run 'SIZE'
nbdkit -U $folder/u -P p[E9] null --run 'until [ -s p[E9] ]; do sleep 0.01; done; ls p*'
nbdkit -U $folder/u ./module[E9].so --run 'SIZE'
nbdkit -U $folder/u ./no[E9].so --run 'SIZE'
nbdkit --dump-plugin ./module[E9].so | head -n 1
nbdkit --dump-plugin ./module-link.so | head -n 1
nbdkit -U $folder/u $bytes a[E9]=1 a=[E9] a=[C3][A9] a= a== 'a= b ' "a=$(printf '\ta\001\n')" --run true 2>&1
nbdkit -U $folder/u $bytes [E9] 1a=b 'a b=c' [C3][A9]=1 '"' "$(printf 'a\n=b')" "$(printf '\n')" --run true -- -a -- =x '' 2>&1
nbdkit -U $folder/u $bytes [E9] 1a=b 'a b=c' [C3][A9]=1 '"' "$(printf 'a\n=b')" =x '' --run true 2>&1
nbdkit -U $folder/u $bytes absolute=[E9] absolute=/ absolute=./x absolute=/a/../[E9] absolute=a=b:c --run true 2>&1
nbdkit -U $folder/u $bytes real=folder[E9] real=link/.. real=. real=/ --run true 2>&1
nbdkit -U $folder/u $bytes variable=variable variable=empty variable=unset --run true 2>&1
nbdkit -U $folder/u $bytes long=$(head -c 131000 /dev/zero | tr '\0' [E9]) $(head -c 131000 /dev/zero | tr '\0' x) --run true 2>&1
nbdkit -U $folder/u $bytes error=[E9] 2>&1
nbdkit -U $folder/u $bytes -e [E9] --run 'SIZE' 2>&1
nbdkit -U $folder/u $bytes -e "$(printf 'a\n"\\')" --run 'SIZE' 2>&1
nbdkit -U $folder/u --filter=exportname $bytes exportname-strict=true exportname=[E9] exportname=[C3][A9] -e [E9] --run 'SIZE' 2>&1
nbdkit -U $folder/u $bytes --run 'LIST' 2>/dev/null
nbdkit -U $folder/u eval open='printf %s "$3" >opened' get_size='echo 512' pread='cat' -e '[E9] $x' --run 'SIZE; cat opened'
nbdkit -U $folder/u --tls=require --tls-psk=keys[E9] null --run 'nbdinfo --size "nbds+unix://a@/?socket=$unixsocket&tls-psk-file=$folder/keys"'
nbdkit -U $folder/u --tls=require --tls-psk=no[E9] null --run true
nbdkit -U s[E9] -P p[E9] file file[E9]; serves p[E9] s%E9
nbdkit -U s -P p ./module[E9].so; serves p s
nbdkit -U s -P p $bytes absolute=[E9] 2>&1; serves p s
LC_ALL=C LANG=C nbdkit -U $folder/u $bytes [C3][A9] -e [C3][A9] --run 'printf "%s|" "$exportname"; SIZE' 2>&1
LC_ALL=C.UTF-8 nbdkit -U $folder/u $bytes [C3][A9][E9] -e [C3][A9] --run 'printf "%s|" "$exportname"; SIZE' 2>&1
(unset HOME; nbdkit -U $folder/u null --run 'SIZE')
(HOME=[E9]; nbdkit -U $folder/u null --run 'SIZE')
(HOME=; nbdkit -U $folder/u null --run 'SIZE')
(unset PATH; nbdkit -U $folder/u null --run 'echo "$variable"')
(PATH=; nbdkit -U $folder/u null --run 'echo "$variable"')
(cd gone; rmdir ../gone; nbdkit -U $folder/u null --run 'SIZE' 2>/dev/null)
(cd gone; rmdir ../gone; nbdkit -U s null --run 'SIZE' 2>/dev/null)
(cd gone; rmdir ../gone; nbdkit -P p null 2>/dev/null)
(cd gone; rmdir ../gone; nbdkit -U $folder/u file x 2>/dev/null)
(cd gone; rmdir ../gone; nbdkit -U $folder/u file "$folder/file[E9]" --run 'SIZE' 2>/dev/null)
(cd gone; rmdir ../gone; nbdkit -U $folder/u ./x.so 2>/dev/null)
(cd folder[E9]; nbdkit -U $folder/u file inner[E9] --run 'SIZE')
(cd folder[E9]; nbdkit -U s null --run 'printf "%s|" "$unixsocket" "$uri"; SIZE')
(cd folder[E9]; nbdkit -U s -P p file inner[E9]; serves p folder%E9/s)
(cd folder[E9]; nbdkit -U $folder/u $bytes absolute=x real=inner[E9] --run true 2>&1)
`;

/** A line that does not start a command continues the one before. */
const cases = lines
  .trim()
  .split(/\n(?=nbdkit |LC_ALL|\()/)
  .map((line) => line.trim());

/** Lines that intentionally end differently from nbdkit. */
const differences: Readonly<Record<string, string>> = {
  // nbdkit exits with the status of the shell, which could not start.
  [String.raw`nbdkit -U $folder/u null --run ": $(head -c 131000 /dev/zero | tr '\0' x); echo longer"`]:
    "status 1",
};

const size = 'nbdinfo --size "$uri"';
const list = 'nbdinfo --list "$uri" | grep -a -e export= -e description:';

/** Functions and files that the lines use. */
const preamble = String.raw`
export variable='[E9] x' empty= folder bytes
path() { printf '%s/%0*d' "$folder" $(($1 - 1 - $(printf %s "$folder" | wc -c))) 0; }
serves() {
  for try in $(seq 1000); do [ -s "$1" ] && break; sleep 0.01; done
  read pid <"$1"
  readlink "/proc/$pid/cwd"
  nbdinfo --size "nbd+unix:///?socket=$folder/$2"
  kill "$pid"
  tail --pid="$pid" -f /dev/null
}
begin() {
  cd / && rm -rf "$folder" && mkdir "$folder" && cd "$folder" || exit 1
  mkdir folder folder[E9] elsewhere elsewhere/folder gone
  ln -s elsewhere/folder link
  for name in file[E9] folder[E9]/inner[E9] -r a=b a:b 1=2 "$(printf 'a\nb')" inner elsewhere/inner; do
    printf %s "$name" >"./$name"
  done
  cp "$bytes" ./module[E9].so
  ln -s ./module[E9].so module-link.so
  printf 'a:%064d\n' 1 >keys
  cp keys keys[E9]
}
`;

let place = "";
beforeAll(() => {
  // Short, since the path of a socket has at most 107 bytes.
  place = mkdtempSync(join(tmpdir(), "nb-"));
});
afterAll(() => rmSync(place, { recursive: true, force: true }));

/** The output and status of each line. Bytes that are not UTF-8 are kept. */
async function results(server: readonly string[], bytes: string): Promise<readonly string[]> {
  const folder = join(place, "w");
  const script = [
    `folder=${quote(folder)} bytes=${quote(bytes)}`,
    preamble,
    nbdkitFunction(server),
    ...cases.map((line) => {
      const command = line.replaceAll("SIZE", size).replaceAll("LIST", list);
      return String.raw`begin; { ${command}
} 2>/dev/null; printf '\001%d\002' $?`;
    }),
  ];
  const timeoutMs = 200_000;
  const { stdout } = await runScript(script.join("\n"), join(place, "script"), { timeoutMs });
  return stdout
    .split("\u0002")
    .slice(0, -1)
    .map((text) => text.replace("\u0001", "status "))
    .map((text) => text.replaceAll(/^nbdkit: .*$\n?/gm, "nbdkit: ..."));
}

const needs = ["nbdkit", "nbdinfo"] as const;

test.skipIf(!haveCompiler || !needs.every(installed))(
  `${cases.length} command lines with arbitrary bytes do the same as in nbdkit (needs ${needs.join(", ")}, cc)`,
  async () => {
    const bytes = await compileModule("test/fixtures/bytes.c");
    const ours = await results(program, bytes);
    const theirs = await results([Bun.which("nbdkit") ?? ""], bytes);
    const pairs = cases.map((line, at) => {
      return { line, ours: ours[at], expected: differences[line] ?? theirs[at] };
    });
    expect(pairs.filter((pair) => pair.ours !== pair.expected)).toEqual([]);
    expect(theirs.length).toBe(cases.length);
  },
  400_000,
);

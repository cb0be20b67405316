/** A shell script for the genuine eval plugin that records the requests that reach it. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { until } from "#test/server";

import { nbdsh, type Side } from "./stock.ts";

/** The file in a session's folder that is served. */
export const diskOf = (folder: string) => join(folder, "disk");
const logOf = (folder: string) => join(folder, "log");

/** The shell command that records a text, which may contain parameters of a method ("$3"). */
export const note = (folder: string, text: string) => `echo "${text}" >>${logOf(folder)}`;

/** The records so far. */
export function noted(folder: string): string[] {
  const log = logOf(folder);
  return existsSync(log) ? readFileSync(log, "utf8").trimEnd().split("\n") : [];
}

/** Makes the disk: a text, then zeros. */
export function makeDisk(folder: string, size: number, text = ""): void {
  const disk = Buffer.alloc(size);
  disk.write(text, "latin1");
  writeFileSync(diskOf(folder), disk);
}

/**
 * The parameters of eval: they serve the disk that `makeDisk` made, and record each data request as "pread COUNT
 * OFFSET". `methods` adds and replaces methods; undefined removes one.
 */
export function recorder(
  folder: string,
  methods: Readonly<Record<string, string | undefined>> = {},
): string[] {
  const disk = diskOf(folder);
  const at = "oflag=seek_bytes iflag=count_bytes conv=notrunc status=none";
  const zero = `dd if=/dev/zero of=${disk} count=$3 seek=$4 ${at}`;
  const all: Record<string, string | undefined> = {
    thread_model: "echo parallel",
    get_size: `stat -Lc %s ${disk}`,
    pread: `${note(folder, "pread $3 $4")}
      dd if=${disk} count=$3 skip=$4 iflag=count_bytes,skip_bytes status=none`,
    pwrite: `${note(folder, "pwrite $3 $4${5:+ $5}")}
      dd of=${disk} seek=$4 ${at}`,
    flush: note(folder, "flush"),
    trim: `${note(folder, "trim $3 $4${5:+ $5}")}; ${zero}`,
    zero: `${note(folder, "zero $3 $4${5:+ $5}")}; ${zero}`,
    ...methods,
  };
  return Object.entries(all).flatMap(([name, script]) =>
    script === undefined ? [] : [`${name}=${script}`],
  );
}

/** A call for each kind of request, by the name of its export, for `perExport`. */
export const eachCall = `
"open": lambda c: c.flush (),
"pread": lambda c: c.pread (512, 0),
"pwrite": lambda c: c.pwrite (bytes (512), 0),
"zero": lambda c: c.zero (512, 0),
"trim": lambda c: c.trim (512, 0),
"flush": lambda c: c.flush (),
"extents": lambda c: c.block_status (512, 0, lambda *x: 0),
"cache": lambda c: c.cache (512, 0),
"always": lambda c: c.flush (),
`;

/**
 * Makes calls as clients of several exports at once. Returns the error of each, and the records under the name of its
 * export ("NAME TEXT" or "NAME.TEXT"), once `all` finds them complete.
 */
export async function perExport(
  { server, folder }: Side,
  calls: string,
  all: (name: string, notes: readonly string[]) => boolean = () => true,
): Promise<unknown> {
  const seen = await nbdsh(
    server,
    `
import threading
seen = {}
def use (name, call):
    seen[name] = errno (lambda: call (client (name)))
threads = [threading.Thread (target=use, args=(name, call)) for name, call in {${calls}}.items ()]
for thread in threads:
    thread.start ()
for thread in threads:
    thread.join ()
show (sorted (seen.items ()))
`,
    null,
  );
  const errors = seen as [string, string | null][];
  const notes = (name: string) =>
    noted(folder).flatMap((line) =>
      line.startsWith(`${name} `) || line.startsWith(`${name}.`) ? line.slice(name.length + 1) : [],
    );
  await until(() => errors.every(([name]) => all(name, notes(name))));
  return errors.map(([name, error]) => [name, error, notes(name).join(", ")]);
}

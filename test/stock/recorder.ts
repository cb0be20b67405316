/** A plugin in shell script, for the genuine eval plugin, that writes down which requests reach it. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The file in a session's folder that is served. */
export const diskOf = (folder: string) => join(folder, "disk");
const logOf = (folder: string) => join(folder, "log");

/** The command that writes down a text, in which the parameters of a method ("$3") may stand. */
export const note = (folder: string, text: string) => `echo "${text}" >>${logOf(folder)}`;

/** What was written down so far. */
export function noted(folder: string): string[] {
  const log = logOf(folder);
  return existsSync(log) ? readFileSync(log, "utf8").trimEnd().split("\n") : [];
}

/** Make the disk: its bytes are a text, then zeros. */
export function makeDisk(folder: string, size: number, text = ""): void {
  const disk = Buffer.alloc(size);
  disk.write(text, "latin1");
  writeFileSync(diskOf(folder), disk);
}

/**
 * The parameters of eval: the disk that `makeDisk` made is read and written, and each data request is written down
 * as "pread COUNT OFFSET". Further methods, or others in place of these, by name; undefined takes one away.
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

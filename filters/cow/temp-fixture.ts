/** The temporary files of overlays, as a test sees them. */
import { readdirSync, readlinkSync } from "node:fs";

/** The files in the folder that this process has open, even deleted ones. */
export function openIn(folder: string): string[] {
  return readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return target.startsWith(folder) ? [target] : [];
    } catch {
      // The descriptor that listed the folder is gone.
      return [];
    }
  });
}

/** Sets $TMPDIR until it is disposed of. */
export function useTmpdir(folder: string): Disposable {
  const before = process.env["TMPDIR"];
  process.env["TMPDIR"] = folder;
  return {
    [Symbol.dispose]() {
      if (before === undefined) delete process.env["TMPDIR"];
      else process.env["TMPDIR"] = before;
    },
  };
}

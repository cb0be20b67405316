/** Opens the file or block device, and tells what it is. */
import { closeSync, fstatSync, openSync, readFileSync, statSync } from "node:fs";

import { debug, filePath, NbdError, storage } from "#api";

import { type Calls } from "./calls.ts";
import { Evictor } from "./evictor.ts";
import { syncer } from "./syncer.ts";

/** One client's open file. */
export interface OpenFile {
  readonly path: string;
  readonly fd: number;
  readonly calls: Calls;
  readonly writable: boolean;
  readonly rotational: boolean;
  /** The logical sector size of a block device; undefined for a regular file. */
  readonly sector: number | undefined;
  readonly evictor: Evictor | undefined;
  /** Brings everything written so far to the disk. */
  readonly sync: () => Promise<void>;
  /** What turned out not to work with this file, and is not tried again. */
  readonly lacks: Set<string>;
}

export interface OpenOptions {
  readonly readonly: boolean;
  /** Keep the file out of the page cache. */
  readonly evict: boolean;
  readonly fadvise: "normal" | "random" | "sequential";
}

/** Why the file at `path` cannot be served, or undefined. Opening a pipe would wait for its writer, so ask first. */
export function unfit(path: string): string | undefined {
  const stat = statSync(filePath(path));
  if (stat.isFile() || stat.isBlockDevice()) return undefined;
  const kind = stat.isDirectory() ? "a directory" : "a special file";
  return `${path} is ${kind}: expected a regular file or a block device`;
}

export function openFile(path: string, options: OpenOptions, calls: Calls): OpenFile {
  const { fd, writable } = openDescriptor(path, options.readonly);
  try {
    const stat = fstatSync(fd, { bigint: true });
    const device = stat.isBlockDevice();
    if (options.fadvise !== "normal") calls.advise(fd, 0n, 0, options.fadvise);
    return {
      path,
      fd,
      calls,
      writable,
      rotational: device && isRotational(stat.rdev),
      sector: device ? storage.sectorSize(fd) : undefined,
      evictor: options.evict ? new Evictor(fd, calls) : undefined,
      sync: syncer(() => calls.fdatasync(fd)),
      lacks: new Set(),
    };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** The size now. A file that grew has its new size for the clients that connect afterwards. */
export function sizeOf(file: OpenFile): bigint {
  if (file.sector !== undefined) return storage.deviceSize(file.fd);
  return fstatSync(file.fd, { bigint: true }).size;
}

function openDescriptor(path: string, readonly: boolean): { fd: number; writable: boolean } {
  try {
    const reason = unfit(path);
    if (reason !== undefined) throw new NbdError("EINVAL", reason);
    if (!readonly) {
      try {
        return { fd: openSync(filePath(path), "r+"), writable: true };
      } catch (error) {
        debug(`cannot open ${path} for writing, trying to read only: ${String(error)}`);
      }
    }
    return { fd: openSync(filePath(path), "r"), writable: false };
  } catch (error) {
    throw NbdError.from(error, `opening ${path}`);
  }
}

/** Linux keeps it in the queue of the whole disk, one level above a partition. */
function isRotational(rdev: bigint): boolean {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & ~0xffn);
  const folder = `/sys/dev/block/${major}:${minor}`;
  for (const path of [`${folder}/queue/rotational`, `${folder}/../queue/rotational`]) {
    try {
      return readFileSync(path, "utf8").trim() === "1";
    } catch (error) {
      debug(`cannot read ${path}: ${String(error)}`);
    }
  }
  return false;
}

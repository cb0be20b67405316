/** Opens the file or block device, and finds its properties. */
import * as fs from "node:fs";
import { promisify } from "node:util";

import { type Awaitable, type BlockSize, debug, filePath, NbdError, storage } from "#api";

import { type Calls } from "./calls.ts";
import { Changes } from "./changes.ts";
import { deviceOf, noBlockSize } from "./device.ts";
import { Evictor } from "./evictor.ts";
import { Pace, type Storage, storageOf } from "./pace.ts";
import { syncer } from "./syncer.ts";

/** One client's open file. */
export interface OpenFile {
  readonly path: string;
  readonly fd: number;
  readonly calls: Calls;
  readonly writable: boolean;
  readonly rotational: boolean;
  readonly blockSize: BlockSize;
  /** The logical sector size of a block device; undefined for a regular file. */
  readonly sector: number | undefined;
  readonly evictor: Evictor | undefined;
  readonly pace: Pace;
  readonly changes: Changes;
  /** Writes all data so far to the disk. */
  readonly sync: () => Promise<void>;
  /** The calls that do not work with this file, and are not tried again. */
  readonly lacks: Set<string>;
}

export interface OpenOptions {
  readonly readonly: boolean;
  /** Keep the file out of the page cache. */
  readonly evict: boolean;
  readonly fadvise: "normal" | "random" | "sequential";
}

/**
 * Why the file at `path` cannot be served, or undefined. Opening a pipe would wait for its writer, so check first.
 */
export function unfit(
  path: string,
  stat: Pick<fs.Stats, "isBlockDevice" | "isDirectory" | "isFile">,
) {
  if (stat.isFile() || stat.isBlockDevice()) return undefined;
  const kind = stat.isDirectory() ? "a directory" : "a special file";
  return `${path} is ${kind}: expected a regular file or a block device`;
}

// These run on Bun's threads. Bun has few of them, so the calls after opening use the threads of `calls`.
const open = promisify(fs.open);
const stat = promisify(fs.stat);
const fstat = promisify(fs.fstat);
const statfs = promisify(fs.statfs);

export async function openFile(
  path: string,
  options: OpenOptions,
  calls: Calls,
): Promise<OpenFile> {
  const { fd, writable } = await openDescriptor(path, options.readonly);
  try {
    const found = await fstat(fd, { bigint: true });
    const device = found.isBlockDevice() ? deviceOf(fd, path) : undefined;
    if (options.fadvise !== "normal") calls.adviseNow(fd, 0n, 0, options.fadvise);
    return {
      path,
      fd,
      calls,
      writable,
      rotational: device?.rotational ?? false,
      blockSize: device?.blockSize ?? noBlockSize,
      sector: device?.sector,
      pace: device ? paceOf(found.rdev, "disk") : await paceOfFile(path, found.dev),
      changes: new Changes(),
      evictor: options.evict ? new Evictor(fd, calls) : undefined,
      sync: syncer(() => calls.fdatasync(fd)),
      lacks: new Set(),
    };
  } catch (error) {
    fs.closeSync(fd);
    throw NbdError.from(error, `opening ${path}`);
  }
}

/** By device number, which identifies the disk or the file system. */
const paces = new Map<bigint, Pace>();

function paceOf(device: bigint, kind: Storage): Pace {
  const pace = paces.get(device) ?? new Pace(kind);
  paces.set(device, pace);
  return pace;
}

async function paceOfFile(path: string, device: bigint): Promise<Pace> {
  return paces.get(device) ?? paceOf(device, storageOf((await statfs(filePath(path))).type));
}

/** The current size. Clients that connect after a file has grown get its new size. */
export function sizeOf(file: OpenFile): Awaitable<bigint> {
  const { calls, fd, pace, sector } = file;
  if (sector !== undefined) return storage.deviceSize(fd);
  return pace.storage === "remote" ? calls.size(fd) : calls.sizeNow(fd);
}

/** A network file system writes cached data before it closes a file, so closing may block. */
export function closeFile({ calls, fd, pace }: OpenFile): Awaitable<void> {
  return pace.storage === "remote" ? calls.close(fd) : fs.closeSync(fd);
}

async function openDescriptor(
  path: string,
  readonly: boolean,
): Promise<{ fd: number; writable: boolean }> {
  try {
    const reason = unfit(path, await stat(filePath(path)));
    if (reason !== undefined) throw new NbdError("EINVAL", reason);
    if (!readonly) {
      try {
        return { fd: await open(filePath(path), "r+"), writable: true };
      } catch (error) {
        const { message } = NbdError.from(error, `opening ${path} for writing`);
        debug(`${message}: trying to read only`);
      }
    }
    return { fd: await open(filePath(path), "r"), writable: false };
  } catch (error) {
    throw NbdError.from(error, `opening ${path}`);
  }
}

/** Serve a file or a block device. The manual is README.md, beside this file. */
import { closeSync } from "node:fs";

import { after, type Awaitable, ConfigError, definePlugin, FLAG_FUA, NbdError, param } from "#api";

import { calls } from "./calls.ts";
import { type OpenFile, openFile, sizeOf, unfit } from "./open-file.ts";
import { trimRange, zeroFast } from "./sparse.ts";
import { blame, readFully, writeFully } from "./transfer.ts";

/** Parameters of nbdkit's plugin, past or present, that this one lacks. */
const refused: Readonly<Record<string, string>> = {
  dir: "serving a directory is not supported: name one file with file=",
  dirfd: "serving a directory is not supported: name one file with file=",
  fd: "descriptors are not supported: use file=/dev/fd/NUMBER together with -f",
  rdelay: "use --filter=delay",
  wdelay: "use --filter=delay",
};

export default definePlugin({
  name: "file",
  longName: "nbdkit file plugin",
  magicConfigKey: "file",
  params: {
    file: param.path({ required: true, help: "The file or block device to serve." }),
    cache: param.choice(["default", "none"], {
      default: "default",
      help: "none: keep the file out of the page cache (default default).",
    }),
    fadvise: param.choice(["normal", "random", "sequential"], {
      default: "normal",
      help: "How the file will be accessed: normal, random or sequential (default normal).",
    }),
  },

  config(_config, key, value) {
    const why = refused[key] ?? "expected one of file, cache, fadvise";
    throw new ConfigError(`file: unknown parameter ${key}=${value}: ${why}`);
  },

  /** The file is opened for each client; this only finds mistakes early. */
  configComplete(config) {
    let reason: string | undefined;
    try {
      reason = unfit(config.file);
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
    }
    if (reason !== undefined) throw new ConfigError(`file: ${reason}`);
  },

  dumpPlugin() {
    for (const call of ["blksszget", "blkzeroout", "falloc_fl_punch_hole", "falloc_fl_zero_range"])
      process.stdout.write(`file_${call}=yes\n`);
  },

  open(config, readonly): OpenFile {
    const evict = config.cache === "none";
    return openFile(config.file, { readonly, evict, fadvise: config.fadvise }, calls);
  },

  close(file) {
    closeSync(file.fd);
  },

  getSize: sizeOf,
  canWrite: (file) => file.writable,
  canFlush: () => true,
  isRotational: (file) => file.rotational,
  canTrim: () => true,
  canZero: () => true,
  // As nbdkit's: whether the kernel has a fast way is known only when it is tried.
  canFastZero: () => false,
  canFua: () => "native",
  // All clients share the kernel's page cache.
  canMultiConn: () => true,
  canCache: () => "native",

  pread(file, buf, offset) {
    const result = readFully(file, buf, offset);
    const { evictor } = file;
    if (evictor === undefined) return result;
    return after(result, () => evictor.read(offset, buf.length));
  },

  pwrite(file, buf, offset, flags) {
    const result = writeFully(file, buf, offset);
    const { evictor } = file;
    if (evictor === undefined) return flags & FLAG_FUA ? after(result, () => sync(file)) : result;
    return after(result, () => {
      evictor.wrote(offset, buf.length);
      return durable(file, flags);
    });
  },

  flush(file) {
    return sync(file);
  },

  trim(file, count, offset, flags) {
    return after(trimRange(file, count, offset), () => durable(file, flags));
  },

  zero(file, count, offset, flags) {
    return after(zeroFast(file, count, offset, flags), () => durable(file, flags));
  },

  cache(file, count, offset) {
    try {
      file.calls.advise(file.fd, offset, count, "willneed");
    } catch (error) {
      throw blame(file, error);
    }
  },
});

function durable(file: OpenFile, flags: number): Awaitable<void> {
  return flags & FLAG_FUA ? sync(file) : undefined;
}

async function sync(file: OpenFile): Promise<void> {
  try {
    await file.sync();
    file.evictor?.flushed();
  } catch (error) {
    throw NbdError.from(error, `flushing ${file.path}`);
  }
}

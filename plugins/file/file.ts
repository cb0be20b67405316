/** Serve a file or a block device. The manual is README.md, beside this file. */
import {
  after,
  type Awaitable,
  ConfigError,
  definePlugin,
  FLAG_FUA,
  lastGiven,
  NbdError,
  param,
} from "#api";

import { calls } from "./calls.ts";
import { addHoles, tellsHoles } from "./holes.ts";
import { closeFile, type OpenFile, openFile, sizeOf } from "./open-file.ts";
import { fileIn, namesIn, once, type Source, sourceOf } from "./source.ts";
import { trimRange, zeroFast } from "./sparse.ts";
import { blame, readFully, writeFully } from "./transfer.ts";

/** Parameters of nbdkit's plugin, past or present, that this one lacks. */
const refused: Readonly<Record<string, string>> = {
  rdelay: "use --filter=delay",
  wdelay: "use --filter=delay",
};

const keys = ["file", "dir", "fd", "dirfd", "reduce-memory-pressure", "fadvise"];

/** The values of `cache`, the name of reduce-memory-pressure before nbdkit 1.46. */
const memoryPressures: Readonly<Record<string, boolean>> = { default: false, none: true };

/** Descriptors that the server does not use itself. */
const descriptor = { min: 3, max: 0x7fffffff };

/** The lines for --dump-plugin: nbdkit-file-plugin(1). */
const abilities = [
  ...["block_size", "blkrotational", "blksszget", "blkdiscard", "blkzeroout", "extents"],
  ...["falloc_fl_punch_hole", "falloc_fl_zero_range"],
];

/** The source of each loaded layer, by its parameters. */
const sources = new WeakMap<object, Source>();

export default definePlugin({
  name: "file",
  longName: "nbdkit file plugin",
  extentsAnswerReads: true,
  fillsReads: true,
  magicConfigKey: "file",
  params: {
    file: once(param.path({ help: "The file or block device to serve." })),
    dir: once(
      param.path({
        aliases: ["directory"],
        help: "Serve the files in this directory, by the names of exports.",
      }),
    ),
    fd: once(
      param.integer({ ...descriptor, help: "Serve the file that this descriptor stands for." }),
    ),
    dirfd: once(param.integer({ ...descriptor, help: "As dir, of the directory's descriptor." })),
    "reduce-memory-pressure": param.ordered(
      param.bool({ help: "Keep the file out of the page cache.", shownDefault: "false" }),
    ),
    cache: param.ordered(
      param.custom((text) => memoryPressures[text], {
        accepted: "one of default, none",
        type: "default|none",
        help: "The older name: none is reduce-memory-pressure=true.",
      }),
    ),
    fadvise: param.choice(["normal", "random", "sequential"], {
      default: "normal",
      help: "How the file will be accessed.",
    }),
  },

  config(_config, key, value) {
    const why = refused[key] ?? `expected one of ${keys.join(", ")}`;
    throw new ConfigError(`file: unknown parameter ${key}=${value}: ${why}`);
  },

  /** Only finds mistakes early: each client opens the file again. */
  configComplete(config) {
    sources.set(config, sourceOf(config));
  },

  dumpPlugin() {
    for (const name of abilities) process.stdout.write(`file_${name}=yes\n`);
  },

  async listExports(config, _readonly, _isTls, exports) {
    const { kind, path } = sourceIn(config);
    if (kind === "file") return exports.useDefault();
    for (const name of await namesIn(path)) exports.add(name);
  },

  /** With a directory clients must choose a file. */
  defaultExport: (config) => (sourceIn(config).kind === "file" ? "" : undefined),

  open(config, readonly, exportName): Promise<OpenFile> {
    const evict = lastGiven(config.cache, config["reduce-memory-pressure"]) ?? false;
    const path = fileIn(sourceIn(config), exportName);
    return openFile(path, { readonly, evict, fadvise: config.fadvise }, calls);
  },

  close: closeFile,

  getSize: sizeOf,
  blockSize: (file) => file.blockSize,
  canWrite: (file) => file.writable,
  canFlush: () => true,
  isRotational: (file) => file.rotational,
  canTrim: () => true,
  canZero: () => true,
  // As in nbdkit: only a try shows whether the kernel has a fast way.
  canFastZero: () => false,
  canExtents: tellsHoles,
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
    return after(result, async () => {
      await evictor.wrote(offset, buf.length);
      await durable(file, flags);
    });
  },

  /** With reduce-memory-pressure each request must drop its pages afterwards. */
  descriptor: (file) => (file.evictor === undefined ? file.fd : undefined),

  flush(file) {
    return sync(file);
  },

  trim(file, count, offset, flags) {
    return after(trimRange(file, count, offset), () => durable(file, flags));
  },

  zero(file, count, offset, flags) {
    return after(zeroFast(file, count, offset, flags), () => durable(file, flags));
  },

  extents: addHoles,

  async cache(file, count, offset) {
    try {
      await file.calls.advise(file.fd, offset, count, "willneed");
    } catch (error) {
      throw blame(file, error);
    }
  },
});

function sourceIn(config: object): Source {
  const source = sources.get(config);
  if (source === undefined) throw new Error("open was called before config_complete");
  return source;
}

function durable(file: OpenFile, flags: number): Awaitable<void> {
  return flags & FLAG_FUA ? sync(file) : undefined;
}

async function sync(file: OpenFile): Promise<void> {
  try {
    await file.sync();
    await file.evictor?.flushed();
  } catch (error) {
    throw blame(file, NbdError.from(error, "flushing"));
  }
}

/** A RAM disk that all clients share. The manual is README.md, beside this file. */
import { ConfigError, definePlugin, EXTENT_HOLE, EXTENT_ZERO, FLAG_REQ_ONE, param } from "#api";

import { Pages } from "./pages.ts";

/** Pages of nbdkit's other allocators are not made here, but their names are known. */
const others = /^(malloc|zstd)(,|$)/;

/** What clients are told of a run of pages. */
const kinds = { none: EXTENT_HOLE | EXTENT_ZERO, zeroes: EXTENT_ZERO, data: 0 } as const;

export default definePlugin({
  name: "memory",
  longName: "nbdkit memory plugin",
  fillsReads: true,
  magicConfigKey: "size",
  params: {
    size: param.size({ required: true, help: "The size of the disk." }),
    allocator: param.custom((text) => (text === "sparse" ? text : refuse(text)), {
      default: "sparse",
      accepted: "sparse",
      help: "How memory is found; only sparse (default sparse).",
    }),
  },

  open: (config) => ({ size: config.size, pages: pagesOf(config) }),
  getSize: (handle) => handle.size,
  canFastZero: () => true,
  canFua: () => "native",
  canMultiConn: () => true,
  canCache: () => "native",
  cleanup(config) {
    disks.delete(config);
  },

  pread({ pages }, buf, offset) {
    pages.read(buf, offset);
  },
  pwrite({ pages }, buf, offset) {
    pages.write(buf, offset);
  },
  flush() {},
  trim({ pages }, count, offset) {
    pages.zero(count, offset);
  },
  zero({ pages }, count, offset) {
    pages.zero(count, offset);
  },
  extents({ pages }, count, offset, flags, extents) {
    const runs = pages.runs(count, offset, flags & FLAG_REQ_ONE ? 1 : undefined);
    for (const { offset: at, length, kind } of runs) extents.add(at, length, kinds[kind]);
  },
  cache() {},
});

/** One disk for each time the plugin was loaded: its configuration stands for it. */
const disks = new WeakMap<object, Pages>();

function pagesOf(config: object): Pages {
  const known = disks.get(config);
  if (known !== undefined) return known;
  const pages = new Pages();
  disks.set(config, pages);
  return pages;
}

function refuse(text: string): undefined {
  if (!others.test(text)) return undefined;
  throw new ConfigError(`allocator=${text}: not supported here: expected sparse`);
}

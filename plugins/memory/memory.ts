/** A RAM disk that all clients share. The manual is README.md, beside this file. */
import { ConfigError, definePlugin, EXTENT_HOLE, EXTENT_ZERO, FLAG_REQ_ONE, param } from "#api";

import { Pages, pageSize } from "./pages.ts";

/** nbdkit's allocators. All memory is allocated in pages here, which matches malloc except for its reservation. */
const allocators = /^(sparse|malloc(,mlock=(0|false|f|no|n|off))?)$/;
/** The advice for allocators that differ in more than speed. */
const others: Readonly<Record<string, string>> = {
  zstd: "this plugin does not compress pages: expected sparse or malloc",
  malloc: "expected mlock=false (--swap locks all memory of the server)",
  sparse: "it takes no further parameters",
};

/** The extent type for a run of pages. */
const kinds = { none: EXTENT_HOLE | EXTENT_ZERO, zeroes: EXTENT_ZERO, data: 0 } as const;

export default definePlugin({
  name: "memory",
  longName: "nbdkit memory plugin",
  extentsAnswerReads: true,
  fillsReads: true,
  magicConfigKey: "size",
  params: {
    size: param.size({ required: true, help: "The size of the disk." }),
    allocator: param.custom((text) => (allocators.test(text) ? text : refuse(text)), {
      default: "sparse",
      accepted: "sparse or malloc",
      type: "sparse|malloc",
      help: "How memory is taken: both take it as it is written to.",
    }),
  },

  open: (config) => ({ size: config.size, pages: pagesOf(config) }),
  getSize: (handle) => handle.size,
  blockSize: () => ({ minimum: 1, preferred: pageSize, maximum: 0xffffffff }),
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

/** One disk for each loaded instance of the plugin, by its configuration. */
const disks = new WeakMap<object, Pages>();

function pagesOf(config: object): Pages {
  const known = disks.get(config);
  if (known !== undefined) return known;
  const pages = new Pages();
  disks.set(config, pages);
  return pages;
}

/** Undefined for a name that nbdkit does not have. */
function refuse(text: string): undefined {
  const [name = ""] = text.split(",", 1);
  if (Object.hasOwn(others, name)) throw new ConfigError(`allocator=${text}: ${others[name]}`);
  return undefined;
}

/** Discard writes, and read zeroes. The manual is README.md, beside this file. */
import { definePlugin, EXTENT_HOLE, EXTENT_ZERO, param } from "#api";

export default definePlugin({
  name: "null",
  longName: "nbdkit null plugin",
  extentsAnswerReads: true,
  fillsReads: true,
  magicConfigKey: "size",
  params: {
    size: param.size({ default: 0n, help: "The size of the disk." }),
  },

  open: (config) => config,
  getSize: (config) => config.size,
  canFastZero: () => true,
  canFua: () => "native",
  canMultiConn: () => true,
  canCache: () => "native",

  pread(_config, buf) {
    buf.fill(0);
  },
  pwrite() {},
  flush() {},
  trim() {},
  zero() {},
  // The whole disk, not only the requested range, so that clients need one request.
  extents(config, _count, _offset, _flags, extents) {
    extents.add(0n, config.size, EXTENT_HOLE | EXTENT_ZERO);
  },
  cache() {},
});

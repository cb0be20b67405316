/** Discard writes, and read zeroes. The manual is README.md, beside this file. */
import { definePlugin, EXTENT_HOLE, EXTENT_ZERO, param } from "#api";

export default definePlugin({
  name: "null",
  longName: "nbdkit null plugin",
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
  // All of the disk, not only what was asked for: so clients need to ask once.
  extents(config, _count, _offset, _flags, extents) {
    extents.add(0n, config.size, EXTENT_HOLE | EXTENT_ZERO);
  },
  cache() {},
});

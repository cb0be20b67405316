/** Serve a byte range of the layer below. The manual is README.md, beside this file. */
import { defineFilter, NbdError, param, shiftedExtents } from "#api";

export default defineFilter({
  name: "offset",
  longName: "nbdkit offset filter",
  params: {
    offset: param.size({ default: 0n, help: "The start offset to serve." }),
    range: param.size({ help: "The total size to serve.", shownDefault: "the rest of the disk" }),
  },

  async getSize(next, { offset, range }) {
    const size = await next.getSize();
    if (range === undefined) {
      if (offset <= size) return size - offset;
      throw new NbdError("EINVAL", `offset (${offset}) is larger than the real size (${size})`);
    }
    // Both may be as large as 2^63-1: the sum is exact, since it is a bigint.
    if (offset + range <= size) return range;
    throw new NbdError(
      "EINVAL",
      `offset+range (${offset}+${range}) is larger than the real size (${size})`,
    );
  },

  shift: (config) => config.offset,

  // No range checks below: the seam keeps every request within the size that this filter reports.

  pread(next, config, buf, offset, flags) {
    return next.pread(buf, offset + config.offset, flags);
  },

  pwrite(next, config, buf, offset, flags) {
    return next.pwrite(buf, offset + config.offset, flags);
  },

  trim(next, config, count, offset, flags) {
    return next.trim(count, offset + config.offset, flags);
  },

  zero(next, config, count, offset, flags) {
    return next.zero(count, offset + config.offset, flags);
  },

  extents(next, config, count, offset, flags, extents) {
    return shiftedExtents(next, count, offset, flags, extents, config.offset);
  },

  cache(next, config, count, offset, flags) {
    return next.cache(count, offset + config.offset, flags);
  },
});

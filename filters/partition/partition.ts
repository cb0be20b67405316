/** Serve one partition of the layer below. The manual is README.md, beside this file. */
import { debug, defineFilter, param, parseSize, shiftedExtents } from "#api";

import { findPartition, type SectorSize } from "./find.ts";

function parseSectorSize(text: string): SectorSize | undefined {
  if (text === "auto") return "auto";
  const size = parseSize(text);
  return size === 512n ? 512 : size === 4096n ? 4096 : undefined;
}

export default defineFilter({
  name: "partition",
  longName: "nbdkit partition filter",
  params: {
    partition: param.integer({
      required: true,
      min: 1,
      max: 0xffffffff,
      help: "The partition number, counting from 1.",
    }),
    "partition-sectorsize": param.custom(parseSectorSize, {
      default: 512,
      accepted: "512, 4096 or auto",
      help: "The sector size that the table counts in: 512 (default), 4096 or auto.",
    }),
  },

  async open(next, config, readonly, exportName) {
    await next(readonly, exportName);
    return { config, offset: 0n, range: 0n };
  },

  async prepare(next, handle) {
    const { config } = handle;
    const read = async (offset: bigint, count: number) => {
      const buf = new Uint8Array(count);
      await next.pread(buf, offset, 0);
      return buf;
    };
    const { offset, range } = await findPartition(
      read,
      await next.getSize(),
      config["partition-sectorsize"],
      config.partition,
    );
    debug(`partition ${config.partition}: offset=${offset} range=${range}`);
    handle.offset = offset;
    handle.range = range;
  },

  getSize(_next, handle) {
    return handle.range;
  },

  shift: (handle) => handle.offset,

  pread(next, handle, buf, offset, flags) {
    return next.pread(buf, offset + handle.offset, flags);
  },

  pwrite(next, handle, buf, offset, flags) {
    return next.pwrite(buf, offset + handle.offset, flags);
  },

  trim(next, handle, count, offset, flags) {
    return next.trim(count, offset + handle.offset, flags);
  },

  zero(next, handle, count, offset, flags) {
    return next.zero(count, offset + handle.offset, flags);
  },

  extents(next, handle, count, offset, flags, extents) {
    return shiftedExtents(next, count, offset, flags, extents, handle.offset);
  },

  cache(next, handle, count, offset, flags) {
    return next.cache(count, offset + handle.offset, flags);
  },
});

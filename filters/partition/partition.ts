/** Serve one partition of the layer below. The manual is README.md, beside this file. */
import { after, debug, defineFilter, type NextOps, param, parseSize } from "#api";

import { findPartition, type Read, type SectorSize } from "./find.ts";

function parseSectorSize(text: string): SectorSize | undefined {
  if (text === "auto") return "auto";
  const size = parseSize(text);
  return size === 512n ? 512 : size === 4096n ? 4096 : undefined;
}

/** Reads whole blocks of the layer below, which may refuse smaller reads. */
function readerOf(next: NextOps, size: bigint, block: bigint): Read {
  return async (offset, count) => {
    const start = offset - (offset % block);
    const end = offset + BigInt(count);
    const wholeEnd = end + ((block - (end % block)) % block);
    const buf = new Uint8Array(Number((wholeEnd < size ? wholeEnd : size) - start));
    await next.pread(buf, start, 0);
    return buf.subarray(Number(offset - start), Number(end - start));
  };
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
      accepted: "512, 4096 or auto",
      help: "The sector size that the table counts in.",
      type: "512|4096|auto",
      shownDefault: "that of the disk, or 512",
    }),
  },

  async open(next, config, readonly, exportName) {
    await next(readonly, exportName);
    return { config, offset: 0n, range: 0n, kind: "" };
  },

  async prepare(next, handle) {
    const { config } = handle;
    const size = await next.getSize();
    const { minimum } = await next.blockSize();
    const usual = minimum === 4096 ? 4096 : 512;
    if (config["partition-sectorsize"] === undefined && minimum === usual) {
      debug(`underlying storage has a minimum block size: using partition-sectorsize=${usual}`);
    }
    const { offset, range, kind } = await findPartition(
      readerOf(next, size, BigInt(Math.max(1, minimum))),
      size,
      config["partition-sectorsize"] ?? usual,
      config.partition,
    );
    debug(`partition ${config.partition}: offset=${offset} range=${range}`);
    Object.assign(handle, { offset, range, kind });
  },

  exportDescription: (next, { config, kind }) =>
    after(next.exportDescription(), (text) =>
      text === undefined ? undefined : `partition ${config.partition} of ${kind} disk: ${text}`,
    ),

  window: ({ offset, range }) => ({ offset, size: range }),
});

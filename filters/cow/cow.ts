/**
 * Keep writes in a temporary overlay, and never change the layer below. The manual is README.md,
 * beside this file.
 */
import { existsSync } from "node:fs";

import { after, type BlockSize, defineFilter, filePath, param, parseBool, parseSize } from "#api";

import { Copies } from "./copies.ts";
import { Overlay } from "./overlay.ts";

const smallestBlock = 4096n;
const largestBlock = 2n ** 31n;

function parseBlockSize(text: string): number | undefined {
  const size = parseSize(text) ?? 0n;
  const isPower = (size & (size - 1n)) === 0n;
  return isPower && size >= smallestBlock && size <= largestBlock ? Number(size) : undefined;
}

function parseOnRead(text: string): boolean | string | undefined {
  return parseBool(text) ?? (text.startsWith("/") ? text : undefined);
}

/** The largest preferred block size that NBD allows. */
const largestPreferred = 32 << 20;

function advice({ minimum, preferred, maximum }: BlockSize, block: number): BlockSize {
  const wanted = Math.min(block, largestPreferred);
  if (minimum === 0) return { minimum: 1, preferred: wanted, maximum: 0xffffffff };
  return { minimum, preferred: Math.min(maximum, Math.max(preferred, wanted)), maximum };
}

/** The copies of each layer, by its parameters: each layer has its own object. */
const layers = new WeakMap<object, Copies>();

export default defineFilter({
  name: "cow",
  longName: "nbdkit copy-on-write (COW) filter",
  fillsReads: true,
  params: {
    "cow-block-size": param.custom(parseBlockSize, {
      default: 65536,
      accepted: "a power of two from 4096 to 2G",
      help: "The size of the blocks that are copied.",
      type: "SIZE",
      shownDefault: "64k",
    }),
    "cow-on-cache": param.bool({
      default: false,
      help: "Copy what clients prefetch into the overlay.",
    }),
    "cow-on-read": param.custom(parseOnRead, {
      default: false,
      accepted: "true, false or an absolute path",
      help: "Copy what clients read into the overlay, always or while a file exists.",
      type: "true|false|/PATH",
    }),
  },

  getReady(config) {
    const onRead = config["cow-on-read"];
    const savesReads =
      typeof onRead === "string" ? () => existsSync(filePath(onRead)) : () => onRead;
    const options = { blockSize: config["cow-block-size"], savesReads };
    layers.set(config, new Copies(Overlay.create(), options));
  },

  cleanup(config) {
    layers.get(config)?.[Symbol.dispose]();
    layers.delete(config);
  },

  async open(next, config, _readonly, exportName) {
    const copies = layers.get(config);
    if (copies === undefined) throw new Error("open was called before get_ready or after cleanup");
    // Read-only: the filter never writes to the layer below.
    await next(true, exportName);
    const { "cow-on-cache": savesCached, "cow-block-size": block } = config;
    const copy = copies.enter(exportName);
    return { copies, exportName, copy, size: 0n, caches: false, savesCached, block };
  },

  async prepare(next, handle) {
    handle.size = await next.getSize();
    handle.caches = (await next.canCache()) !== "none";
  },

  close({ copies, exportName }) {
    copies.leave(exportName);
  },

  /** Writes of less than a block copy the rest of it. */
  blockSize: (next, { block }) => after(next.blockSize(), (below) => advice(below, block)),
  canWrite: () => true,
  canFlush: () => true,
  canTrim: () => true,
  canZero: () => "native",
  canFastZero: () => true,
  canExtents: () => true,
  canFua: () => "native",
  canMultiConn: () => true,
  canCache: () => "native",

  pread(next, { copy, size, caches }, buf, offset) {
    return copy.read({ next, size, caches }, buf, offset);
  },

  pwrite(next, { copy, size, caches }, buf, offset) {
    return copy.write({ next, size, caches }, buf, offset);
  },

  /** Nothing to do: the overlay does not outlive the server, so there is nothing to make durable. */
  flush() {},

  trim(next, { copy, size, caches }, count, offset) {
    return copy.discard({ next, size, caches }, count, offset);
  },

  zero(next, { copy, size, caches }, count, offset) {
    return copy.discard({ next, size, caches }, count, offset);
  },

  extents(next, { copy, size, caches }, count, offset, flags, extents) {
    return copy.extents({ next, size, caches }, count, offset, flags, extents);
  },

  cache(next, { copy, size, caches, savesCached }, count, offset) {
    return copy.cache({ next, size, caches }, count, offset, savesCached);
  },
});

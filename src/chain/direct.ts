/** Which layer a plain request ends up in, for adapters that can call it without going through the seam. */
import { log } from "../lib/log.ts";
import type { Context } from "./checked.ts";
import type { Direct, DirectMethod, FilePart } from "./layer.ts";
import type { Answers } from "./state.ts";

const allowed: Readonly<Record<DirectMethod, (answers: Answers) => boolean>> = {
  pread: () => true,
  pwrite: (answers) => answers.canWrite === true,
  flush: (answers) => answers.canFlush === true,
  trim: (answers) => answers.canTrim === true,
  cache: (answers) => answers.canCache === "native",
};

/** See LayerContext.direct. What is not known yet is not asked. */
export function directLayer(from: Context, method: DirectMethod): Direct | undefined {
  if (log.verbose && log.datapath) return undefined;
  let size = from.state.answers.getSize;
  for (let at: Context | undefined = from; at !== undefined; at = at.lower) {
    const { layer, state } = at;
    const { getSize } = state.answers;
    if (!state.prepared || getSize === undefined || size === undefined) return undefined;
    if (!allowed[method](state.answers)) return undefined;
    if (getSize < size) size = getSize;
    if (layer[method] !== undefined) return { context: at, layer, size };
  }
  return undefined;
}

/** See FindFilePart. */
export function filePart(from: Context, count: number, offset: bigint): FilePart | undefined {
  if (log.verbose && log.datapath) return undefined;
  let place = offset;
  for (let at: Context | undefined = from; at !== undefined; at = at.lower) {
    const { layer, state } = at;
    if (!state.fits(count, place)) return undefined;
    if (layer.pread === undefined) continue;
    if (layer.shift !== undefined) {
      place += layer.shift(at);
      continue;
    }
    const descriptor = layer.descriptor?.(at);
    return descriptor === undefined ? undefined : { descriptor, offset: place, count };
  }
  return undefined;
}

/** Finds the layer that plain requests end up in, past all layers that leave them alone. */
import { log } from "../lib/log.ts";
import type { Context } from "./context.ts";
import type { DirectMethod, Target } from "./layer.ts";
import type { Answers } from "./state.ts";

const allowed: Readonly<Record<DirectMethod, (answers: Answers) => boolean>> = {
  pread: () => true,
  pwrite: (answers) => answers.canWrite === true,
  flush: (answers) => answers.canFlush === true,
  trim: (answers) => answers.canTrim === true,
  cache: (answers) => answers.canCache === "native",
};

/**
 * See LayerContext.target. A layer leaves a request alone if it has no such method of its own; its
 * window moves the request. Answers that are not known yet are not asked for. Under -v every layer
 * traces its requests, so none is passed.
 */
export function resolve(from: Context, method: DirectMethod): Target | undefined {
  if (log.verbose && log.datapath) return undefined;
  let size = from.state.answers.getSize;
  let offset = 0n;
  let extentsAnswerReads = true;
  for (let at: Context | undefined = from; at !== undefined; at = at.lower) {
    const { layer, state } = at;
    const { getSize } = state.answers;
    if (!state.prepared || getSize === undefined || size === undefined) return undefined;
    if (!allowed[method](state.answers)) return undefined;
    if (getSize - offset < size) size = getSize - offset;
    if (layer[method] !== undefined) {
      extentsAnswerReads &&= layer.extentsAnswerReads === true;
      return { context: at, descriptor: state.descriptor, extentsAnswerReads, layer, offset, size };
    }
    if (layer.extents !== undefined) extentsAnswerReads = false;
    offset = state.offsetBelow(offset);
  }
  return undefined;
}

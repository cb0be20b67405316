/** Finds the layer that plain requests end up in, past all layers that leave them alone. */
import { log } from "../lib/log.ts";
import type { Answers } from "./capabilities.ts";
import type { DirectMethod, Target } from "./layer.ts";
import type { State } from "./state.ts";

const allowed: Readonly<Record<DirectMethod, (answers: Answers) => boolean>> = {
  pread: () => true,
  pwrite: (answers) => answers.canWrite === true,
  flush: (answers) => answers.canFlush === true,
  trim: (answers) => answers.canTrim === true,
  cache: (answers) => answers.canCache === "native",
};

/**
 * See LayerContext.target. A layer leaves a request alone if it has no such method; its window moves the request. Only
 * answers that are known already count. Under -v every layer prints its requests, so requests take no shortcut.
 */
export function resolve(from: State, method: DirectMethod): Target | undefined {
  if (log.verbose && log.datapath) return undefined;
  let size = from.capabilities.answers.getSize;
  let offset = 0n;
  let extentsAnswerReads = true;
  for (let at: State | undefined = from; at !== undefined; at = at.below) {
    const { capabilities, life, link } = at;
    const { layer } = link;
    const { answers } = capabilities;
    const { getSize } = answers;
    if (life.phase !== "prepared" || getSize === undefined || size === undefined) return undefined;
    if (!allowed[method](answers)) return undefined;
    if (getSize - offset < size) size = getSize - offset;
    if (layer[method] !== undefined) {
      extentsAnswerReads &&= layer.extentsAnswerReads === true;
      const { descriptor, handle } = life;
      return { handle, descriptor, extentsAnswerReads, layer, offset, size };
    }
    if (layer.extents !== undefined) extentsAnswerReads = false;
    offset = capabilities.offsetBelow(offset);
  }
  return undefined;
}

/** From headers to generated files; nothing is written here. */
import { emitAdapters } from "./emit/adapters.ts";
import { emitConstants } from "./emit/constants.ts";
import { emitGenerations } from "./emit/generations.ts";
import { emitLayouts } from "./emit/layouts.ts";
import { emitMethods } from "./emit/methods.ts";
import { emitOps, emitOpsHeader } from "./emit/ops.ts";
import { emitSymbols } from "./emit/symbols.ts";
import { readModel } from "./model.ts";
import { assertDescribed } from "./one-to-one.ts";
import type { GeneratedFile } from "./output.ts";

/** Everything that abi/generated holds, from the headers below `root`. */
export async function generate(root: string): Promise<GeneratedFile[]> {
  const model = await readModel(root);
  assertDescribed(model);
  return [
    ...emitAdapters(model),
    emitConstants(model),
    emitGenerations(model),
    emitLayouts(model),
    emitMethods(model),
    emitOpsHeader(model),
    emitOps(model),
    emitSymbols(model),
  ];
}

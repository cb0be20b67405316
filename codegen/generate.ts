/** Turns the headers into the text of the generated files. It writes none of them. */
import { emitAdapters } from "./emit/adapters.ts";
import { emitCallbacks } from "./emit/callbacks.ts";
import { emitConstants } from "./emit/constants.ts";
import { emitLayouts } from "./emit/layouts.ts";
import { emitMessages } from "./emit/messages.ts";
import { emitMethods } from "./emit/methods.ts";
import { emitOps, emitOpsHeader } from "./emit/ops.ts";
import { emitReleases } from "./emit/releases.ts";
import { emitSymbols } from "./emit/symbols.ts";
import { emitSystem } from "./emit/system.ts";
import { readModel } from "./model.ts";
import { assertDescribed } from "./one-to-one.ts";
import type { GeneratedFile } from "./output.ts";
import { readSystem } from "./system.ts";

/** The files for modules in TypeScript, in the room that these import. */
const apiFolder = "src/api/generated";
const abiFolder = "abi/generated";
const sysFolder = "src/sys/generated";

/** All generated files, from the headers below `root`. */
export async function generate(root: string): Promise<GeneratedFile[]> {
  const model = await readModel(root);
  assertDescribed(model);
  const forApi = [emitCallbacks(model), emitConstants(model), emitMethods(model)];
  const forAbi = [
    ...emitAdapters(model),
    emitReleases(model),
    emitLayouts(model),
    emitMessages(model),
    emitOpsHeader(model),
    emitOps(model),
    emitSymbols(model),
  ];
  const forSys = (await readSystem(root)).map(emitSystem);
  return [...within(apiFolder, forApi), ...within(abiFolder, forAbi), ...within(sysFolder, forSys)];
}

function within(folder: string, files: readonly GeneratedFile[]): GeneratedFile[] {
  return files.map(({ path, text }) => ({ path: `${folder}/${path}`, text }));
}

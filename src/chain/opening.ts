/** Opening, preparing, finalizing and closing the layers of one connection: nbdkit-filter(3), "CALLBACKS". */
import type { Awaitable } from "../api/generated/methods.gen.ts";
import { NbdError } from "../lib/errors.ts";
import { noteOrigin } from "../lib/speaker.ts";
import { oddAnswer } from "./answers.ts";
import { presentAnswers } from "./calls.ts";
import type { Context } from "./context.ts";
import { attempt, logFailure } from "./failure.ts";
import { runAs } from "./running.ts";
import { waitFor } from "./waiting.ts";

/** Open `context` and, through it or after it, the layers below. */
export async function openLayer(
  context: Context,
  readonly: boolean,
  exportName: string,
): Promise<void> {
  const { layer, state, connection } = context;
  const { isTls } = connection;
  if (state.over) {
    throw new NbdError("EINVAL", `${layer.name} was asked for open, but its connection is over`);
  }
  context.control(
    `open readonly=${readonly ? 1 : 0} exportname="${exportName}" tls=${isTls ? 1 : 0}`,
  );
  if (readonly) state.answers.canWrite = false;
  let opening: Promise<void> | undefined;
  const openNext = (ro: boolean, name: string, thread?: unknown): Awaitable<void> => {
    const next = context.lower;
    if (next === undefined || next.state.open) return undefined;
    if (opening !== undefined) return opening;
    const below = thread === undefined ? next : next.bind(thread);
    opening = openLayer(below, ro, name).finally(() => (opening = undefined));
    // A layer that does not wait for it must not end the server: then its own open waits, below.
    opening.catch(() => {});
    return opening;
  };
  try {
    const name = await resolvedName(context, readonly, exportName);
    // As in nbdkit: what filters and default_export made of the client's name counts.
    if (layer.kind === "plugin" && !state.shared) connection.exportName = name;
    if (layer.open === undefined) {
      await openNext(readonly, name);
    } else {
      const { open } = layer;
      const go = () => open.call(layer, context, openNext, readonly, name, isTls);
      const handle = runAs(context.state.link.number, "open", go);
      state.handle = await waitFor(layer, "open", connection.logName, handle);
      await opening;
    }
    state.open = true;
  } catch (error) {
    const failure = context.failure(error, "open");
    // What the layer has begun to open would be left open, were it not closed after that.
    await opening?.catch(() => {});
    await closeLayers(context);
    throw failure;
  }
  context.control(`open returned handle 0x${addressOf(context).toString(16)}`);
}

let opened = 0;

/** Where C has its handle; in TypeScript there is no such place, and handles are counted. */
function addressOf({ layer, state }: Context): number {
  return layer.handleAddress?.(state.handle) ?? ++opened;
}

/** The layer is told the name of its default export instead of "", except where no client asked. */
async function resolvedName(
  context: Context,
  readonly: boolean,
  exportName: string,
): Promise<string> {
  if (exportName !== "" || context.state.shared) return exportName;
  const name = await context.state.link.defaultExport(readonly, context);
  if (name !== undefined) return name;
  const failure = new NbdError("EINVAL", `default export ("") not permitted`);
  // These are the server's words, as in nbdkit, not the layer's.
  noteOrigin(failure, "");
  throw failure;
}

/** Innermost first. A layer whose filter did not open the next one has nothing to prepare below it. */
export async function prepareLayers(context: Context): Promise<void> {
  const { layer, lower, state } = context;
  if (!state.open || state.prepared) return;
  if (lower !== undefined) await prepareLayers(lower);
  const readonly = state.answers.canWrite === false;
  context.control(`prepare readonly=${readonly ? 1 : 0}`);
  try {
    const prepare = () => layer.prepare?.(context, readonly);
    const preparing = runAs(context.state.link.number, "prepare", prepare);
    context.keepNext();
    await waitFor(layer, "prepare", context.logName, preparing);
    if (layer.descriptor !== undefined) state.descriptor = await declaredDescriptor(context);
    state.prepared = true;
  } catch (error) {
    throw context.failure(error, "prepare");
  }
}

async function declaredDescriptor(context: Context): Promise<number | undefined> {
  const { layer } = context;
  const descriptor: unknown = await attempt(
    () => layer.descriptor?.(context),
    (error) => context.failure(error, "descriptor"),
  );
  if (descriptor === undefined) return undefined;
  if (isDescriptor(descriptor)) return descriptor;
  throw oddAnswer(layer, "descriptor", descriptor, "the number of an open file, or undefined");
}

/** C takes it as an int. */
function isDescriptor(it: unknown): it is number {
  return typeof it === "number" && Number.isInteger(it) && it >= 0 && it <= 0x7fffffff;
}

/**
 * Outermost first, only what was prepared. A failure does not keep the others from it; the first one is returned. A
 * layer whose finalize has failed once fails again without a call, as in nbdkit.
 */
export async function finalizeLayers(context: Context): Promise<NbdError | undefined> {
  const { layer, state } = context;
  let failure: NbdError | undefined;
  if (state.prepared) {
    // A filter may have asked for something by the `next` that its prepare got, and not waited for it.
    await presentAnswers(state);
    context.control("finalize");
    const finalize = () => layer.finalize?.(context);
    failure = await failureIn(context, "finalize", () => context.question("finalize", finalize));
    // The layers below stay usable until their own turn.
    state.prepared = false;
    state.finalizeFailed = failure !== undefined;
  } else if (state.finalizeFailed) {
    failure = new NbdError("EIO", "");
  }
  const next = context.lower;
  const below = next === undefined ? undefined : await finalizeLayers(next);
  if (failure === undefined) return below;
  if (below !== undefined) logFailure(below, context.connection.logName);
  return failure;
}

/** Outermost first. A failure is logged. */
export async function closeLayers(context: Context): Promise<void> {
  const { layer, state } = context;
  if (state.open) {
    state.open = false;
    state.prepared = false;
    await presentAnswers(state);
    context.control("close");
    const failure = await failureIn(context, "close", () =>
      waitFor(
        layer,
        "close",
        context.logName,
        runAs(context.state.link.number, "close", () => layer.close?.(context)),
      ),
    );
    if (failure !== undefined) logFailure(failure, context.connection.logName);
  }
  state.reset();
  // As it is now: a layer may have put another one there, or none, when it was finalized or closed.
  const next = context.lower;
  if (next !== undefined) await closeLayers(next);
}

/** Give up the layers' handles and open them anew: for layers that try again after errors. */
export async function reopenLayers(
  context: Context,
  readonly: boolean,
  exportName: string,
): Promise<void> {
  context.control(`reopen readonly=${readonly ? 1 : 0} exportname="${exportName}"`);
  if (context.state.open) {
    const failure = await finalizeLayers(context);
    if (failure !== undefined) throw failure;
    await closeLayers(context);
  }
  // A failing open closes what it opened.
  await openLayer(context, readonly, exportName);
  try {
    await prepareLayers(context);
  } catch (error) {
    await finishLayers(context);
    throw error;
  }
}

/** Finalize and close; failures are logged. */
async function finishLayers(context: Context): Promise<void> {
  const failure = await finalizeLayers(context);
  if (failure !== undefined) logFailure(failure, context.connection.logName);
  await closeLayers(context);
}

/** The same for good: a layer that has kept one of these cannot open it again. */
export async function endLayers(context: Context): Promise<void> {
  for (let it: Context | undefined = context; it !== undefined; it = it.lower) {
    it.state.over = true;
  }
  await finishLayers(context);
}

async function failureIn(
  context: Context,
  method: string,
  call: () => Awaitable<void>,
): Promise<NbdError | undefined> {
  try {
    await call();
    return undefined;
  } catch (error) {
    return context.failure(error, method);
  }
}

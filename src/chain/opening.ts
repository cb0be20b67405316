/** Opening, preparing, finalizing and closing the layers of one connection: nbdkit-filter(3), "CALLBACKS". */
import type { Awaitable } from "#abi/generated/methods.gen";

import type { NbdError } from "../api/errors.ts";
import { log } from "../lib/log.ts";
import type { Context } from "./checked.ts";

/** Open `context` and, through it or after it, the layers below. */
export async function openLayer(
  context: Context,
  readonly: boolean,
  exportName: string,
  isTls: boolean,
): Promise<void> {
  const { layer, next, state } = context;
  context.trace(
    `open readonly=${readonly ? 1 : 0} exportname="${exportName}" tls=${isTls ? 1 : 0}`,
  );
  if (readonly) state.answers.canWrite = false;
  let opening: Promise<void> | undefined;
  const openNext = (ro: boolean, name: string, thread?: unknown): Awaitable<void> => {
    if (next === undefined || next.state.open) return undefined;
    if (opening !== undefined) return opening;
    const below = thread === undefined ? next : next.bind(thread);
    opening = openLayer(below, ro, name, isTls).finally(() => (opening = undefined));
    // A layer that does not wait for it must not end the server: then its own open waits, below.
    opening.catch(() => {});
    return opening;
  };
  try {
    if (layer.open === undefined) {
      await openNext(readonly, exportName);
    } else {
      state.handle = await layer.open(context, openNext, readonly, exportName, isTls);
      await opening;
    }
    state.open = true;
    if (layer.serverOpensNext === true) await openNext(readonly, exportName);
  } catch (error) {
    const failure = context.failure(error, "open");
    await closeLayers(context);
    throw failure;
  }
  context.trace("open returned a handle");
}

/** Innermost first. A layer whose filter did not open the next one has nothing to prepare below it. */
export async function prepareLayers(context: Context): Promise<void> {
  const { layer, next, state } = context;
  if (!state.open || state.prepared) return;
  if (next !== undefined) await prepareLayers(next);
  const readonly = state.answers.canWrite === false;
  context.trace(`prepare readonly=${readonly ? 1 : 0}`);
  try {
    await layer.prepare?.(context, readonly);
    state.prepared = true;
  } catch (error) {
    throw context.failure(error, "prepare");
  }
}

/** Outermost first, only what was prepared. A failure is logged and does not keep the others from it. */
export async function finalizeLayers(context: Context): Promise<void> {
  const { layer, next, state } = context;
  if (state.prepared) {
    context.trace("finalize");
    await quietly(context, "finalize", async () => await layer.finalize?.(context));
    // The layers below stay usable until their own turn.
    state.prepared = false;
  }
  if (next !== undefined) await finalizeLayers(next);
}

/** Outermost first. */
export async function closeLayers(context: Context): Promise<void> {
  const { layer, next, state } = context;
  if (state.open) {
    context.trace("close");
    state.open = false;
    state.prepared = false;
    await quietly(context, "close", async () => await layer.close?.(context));
    state.handle = undefined;
  }
  if (next !== undefined) await closeLayers(next);
}

async function quietly(context: Context, method: string, call: () => Promise<void>): Promise<void> {
  try {
    await call();
  } catch (error) {
    const failure: NbdError = context.failure(error, method);
    log.error(failure.message, context.connection.logName);
  }
}

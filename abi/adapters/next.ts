/** The `next` of C filters: pointers to layers, and the answers to calls through them. */
import { NbdError } from "#api";
import type { LayerContext, LayersBelow } from "#chain/layer";

import type { UpcallHandler } from "../bridge/bridge.ts";
import { NativeConnection } from "../bridge/connection.ts";
import type { Parked } from "../bridge/request-thread.ts";
import type { Answered, Message } from "../bridge/upcall.ts";
import { readContextOpen, readOpen, readSetNext } from "../generated/messages.gen.ts";
import * as op from "../generated/ops.gen.ts";
import type { FilterModule } from "./loaded-module.ts";
import type { BelowCall, Caller } from "./next-call.ts";
import { questionsBelow } from "./questions.ts";
import { requestsBelow } from "./requests.ts";
import { forgetShortcuts, Shortcut, type Shortcuts, shortcutsOf } from "./shortcut.ts";

/** All pointers to layers that C filters have. */
const pointers = new Map<number, NextPointer>();

/** A filter's pointer to layers below it: those of the chain, or layers that it opened by nbdkit_next_context_open. */
export class NextPointer {
  readonly nxdata: number;
  readonly layers: LayerContext;
  /** Shortcuts to drop when these layers change: those of each client whose contexts they are below. */
  readonly #places = new Set<Shortcuts>();
  /** Whether the filter owns the layers: it has opened them, or set_next has removed them from the chain. */
  #isFilters: boolean;
  #closed = false;
  readonly #caller: Caller;
  readonly #registration: { free(): void };
  readonly #open: UpcallHandler | undefined;

  /** `open` answers next_open, if the filter calls that through the same pointer. */
  constructor(module: FilterModule, layers: LayerContext, inChain: boolean, open?: UpcallHandler) {
    const connection = NativeConnection.of(module.bridge, layers.connection);
    const registration = module.bridge.newUpcallHandler(
      (message, parked) => this.answer(message, parked),
      module.module,
    );
    this.#open = open;
    this.nxdata = registration.nxdata;
    this.layers = layers;
    this.#isFilters = !inChain;
    this.#registration = registration;
    const shortcut = new Shortcut(module.bridge, registration.nxdata, shortcutsOf(connection));
    this.#caller = { module, connection, shortcut };
    pointers.set(registration.nxdata, this);
  }

  answer(message: Message, parked: Parked): Answered {
    if (message.op === op.RT_OP_OPEN && this.#open !== undefined) {
      return this.#open(message, parked);
    }
    const bound = this.layers.bind(parked);
    switch (message.op) {
      case op.RT_OP_CONTEXT_CLOSE:
        return this.#close(bound);
      case op.RT_OP_REOPEN:
        return this.#reopen(bound, message);
      case op.RT_OP_PREPARE:
        return bound.prepare();
      case op.RT_OP_FINALIZE:
        this.forgetAll();
        return bound.finalize();
      default:
        return callNext(bound, message, this.#caller);
    }
  }

  /** next_ops->reopen of nbdkit 1.16 to 1.24. */
  async #reopen(bound: LayerContext, message: Message): Promise<void> {
    this.forgetAll();
    const named = this.#caller.module.form.reopenForm === "export-name";
    const { readonly, exportName } = message.read(readOpen);
    const name = named ? message.text(exportName) : (bound.connection.exportName ?? "");
    try {
      await bound.reopen(readonly, name);
    } finally {
      // Questions of before may have been answered meanwhile.
      this.forgetAll();
    }
  }

  /** nbdkit_next_context_close */
  async #close(bound: LayerContext): Promise<void> {
    this.forgetAll();
    try {
      await bound.close();
    } finally {
      // A filter may close the layers of its chain before set_next replaces them, so their pointer must stay valid.
      if (this.#isFilters && this.#places.size === 0) this.free();
      else this.#closed = true;
    }
  }

  /** Whether a filter may put the layers below a context. Several contexts may share them. */
  get isFilters(): boolean {
    return this.#isFilters;
  }

  putBelow(place: Shortcuts): void {
    this.#places.add(place);
  }

  /** The layers are no longer below that context. The code that removed them closes them. */
  takenOut(place: Shortcuts): void {
    this.#isFilters = true;
    this.#places.delete(place);
    if (this.#closed && this.#places.size === 0) this.free();
  }

  /** The layers are about to change: drop all shortcuts past them. */
  forgetAll(): void {
    forgetShortcuts(shortcutsOf(this.#caller.connection));
    for (const place of this.#places) forgetShortcuts(place);
  }

  free(): void {
    if (!pointers.delete(this.nxdata)) return;
    this.#caller.shortcut.end();
    this.#registration.free();
    this.#caller.connection.release();
  }
}

/** nbdkit_next_context_open: open the layers below once more, for the client of the calling thread, if it has one. */
export async function openContext(
  module: FilterModule,
  below: LayersBelow | undefined,
  message: Message,
  parked: Parked,
): Promise<number> {
  if (below === undefined) throw new NbdError("EINVAL", "a C filter has no layer below it to open");
  const { exportName, readonly, shared } = message.read(readContextOpen);
  const client = NativeConnection.at(message.connection);
  const isShared = shared || client === undefined || client.info.id === 0;
  const visit = client === undefined ? undefined : { connection: client.info, thread: parked };
  const context = await below.open(readonly, message.text(exportName), isShared, visit);
  return new NextPointer(module, context, false).nxdata;
}

/**
 * nbdkit_context_set_next: put the layers of a pointer below `context`, or none, and return that pointer. The filter
 * then owns the previous layers. `shortcuts` are those of the context's client.
 */
export function setNext(
  context: LayerContext,
  now: NextPointer | undefined,
  shortcuts: Shortcuts,
  message: Message,
): NextPointer | undefined {
  const { next: address } = message.read(readSetNext);
  const next = address === 0 ? undefined : pointers.get(address);
  if (next === now && address === (now?.nxdata ?? 0)) return now;
  if (address !== 0 && next?.isFilters !== true) {
    throw new NbdError("EINVAL", "a C filter named a next context that it has not opened");
  }
  forgetShortcuts(shortcuts);
  context.setNext(next?.layers);
  now?.takenOut(shortcuts);
  next?.putBelow(shortcuts);
  return next;
}

/** The calls of the layer below, by op. */
const belowCalls: BelowCall[] = [];
for (const [number, call] of [...requestsBelow, ...questionsBelow]) belowCalls[number] = call;

function callNext(next: LayerContext, message: Message, caller: Caller): Answered {
  const call = belowCalls[message.op];
  if (call !== undefined) return call(next, message, caller);
  throw new NbdError(
    "EINVAL",
    `a C filter called an unknown function of the next layer (${message.op})`,
  );
}

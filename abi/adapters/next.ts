/** What C filters call `next`: for each thing that they hold a pointer to, who answers when they call through it. */
import { NbdError } from "#api";
import type { LayerContext, LayersBelow } from "#chain/layer";

import type { Upcalled } from "../bridge/bridge.ts";
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

/** What a filter has for the layers below it: those of its chain, or such as it opened for itself. */
export class NextPointer {
  readonly nxdata: number;
  readonly layers: LayerContext;
  /** Below which clients' contexts they are, by the shortcuts that there may be past those. */
  readonly #places = new Set<Shortcuts>();
  /** The first layers of a client are the chain's. Others, and what was taken out of its chain, are the filter's. */
  #isFilters: boolean;
  #closed = false;
  readonly #caller: Caller;
  readonly #target: { free(): void };
  readonly #open: Upcalled | undefined;

  /** `open` is what the filter calls by the same pointer to have the layers opened. */
  constructor(module: FilterModule, layers: LayerContext, inChain: boolean, open?: Upcalled) {
    const connection = NativeConnection.of(module.bridge, layers.connection);
    const target = module.bridge.newTarget(
      (message, parked) => this.ask(message, parked),
      module.module,
    );
    this.#open = open;
    this.nxdata = target.nxdata;
    this.layers = layers;
    this.#isFilters = !inChain;
    this.#target = target;
    const shortcut = new Shortcut(module.bridge, target.nxdata, shortcutsOf(connection));
    this.#caller = { module, connection, shortcut };
    pointers.set(target.nxdata, this);
  }

  ask(message: Message, parked: Parked): Answered {
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

  /** next_ops->reopen, which nbdkit had from 1.16 to 1.24. */
  async #reopen(bound: LayerContext, message: Message): Promise<void> {
    this.forgetAll();
    const named = this.#caller.module.form.reopenForm === "export-name";
    const { readonly, exportName } = message.read(readOpen);
    const name = named ? message.text(exportName) : (bound.connection.exportName ?? "");
    try {
      await bound.reopen(readonly, name);
    } finally {
      // What was asked before may have been answered meanwhile.
      this.forgetAll();
    }
  }

  /** nbdkit_next_context_close */
  async #close(bound: LayerContext): Promise<void> {
    this.forgetAll();
    try {
      await bound.close();
    } finally {
      // Those of its chain a filter may close before it puts others in their place, by set_next.
      if (this.#isFilters && this.#places.size === 0) this.free();
      else this.#closed = true;
    }
  }

  /** Whether a filter may put them below a context: more than one may share them. */
  get isFilters(): boolean {
    return this.#isFilters;
  }

  putBelow(place: Shortcuts): void {
    this.#places.add(place);
  }

  /** They are no longer in that chain: the code that removed them closes them, if it has not done so. */
  takenOut(place: Shortcuts): void {
    this.#isFilters = true;
    this.#places.delete(place);
    if (this.#closed && this.#places.size === 0) this.free();
  }

  /** The layers are about to change, so C has to ask again wherever they are. */
  forgetAll(): void {
    forgetShortcuts(shortcutsOf(this.#caller.connection));
    for (const place of this.#places) forgetShortcuts(place);
  }

  free(): void {
    if (!pointers.delete(this.nxdata)) return;
    this.#caller.shortcut.end();
    this.#target.free();
    this.#caller.connection.release();
  }
}

/**
 * nbdkit_next_context_open: open the layers below once more, for the client whose request the
 * thread runs if it does.
 */
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
 * nbdkit_context_set_next: put what a pointer stands for below `context`, or nothing. Returns the pointer for it; the
 * one for what was there until now is the filter's. `shortcuts` are those of the context's client.
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

/** By op. */
const belowCalls: BelowCall[] = [];
for (const [number, call] of [...requestsBelow, ...questionsBelow]) belowCalls[number] = call;

/** `next->…` of a C filter in a connection. */
function callNext(next: LayerContext, message: Message, caller: Caller): Answered {
  const call = belowCalls[message.op];
  if (call !== undefined) return call(next, message, caller);
  throw new NbdError(
    "EINVAL",
    `a C filter called an unknown function of the next layer (${message.op})`,
  );
}

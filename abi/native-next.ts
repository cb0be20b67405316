/** What C filters call `next`: for each thing that they hold a pointer to, who answers when they call through it. */
import { after, NbdError } from "#api";
import type { DirectMethod, LayerContext, LayersBelow, Visit } from "#chain/layer";
import { Exports } from "#lib/exports";

import type { Bridge, Message } from "./bridge.ts";
import type { NativeConnection } from "./connection.ts";
import { supports } from "./generated/constants.gen.ts";
import type { Awaitable } from "./generated/methods.gen.ts";
import * as op from "./generated/ops.gen.ts";
import type { Answer } from "./message-memory.ts";
import { addToExports, addToExtents, extentsOf } from "./native-lists.ts";
import type { FilterModule } from "./native-module.ts";
import type { Parked } from "./request-thread.ts";
import { Shortcut } from "./shortcut.ts";

/** What an upcall returns to C. */
export type Answered = Awaitable<Answer | bigint | number | void>;

/** A pointer that C has, and the layers that it stands for. */
export interface NextPointer {
  readonly nxdata: number;
  free(): void;
}

const asInt = (yes: boolean): number => (yes ? 1 : 0);
/** The answer will be the same as long as the layers below are those that they are. */
const remembered = (ret: bigint | number): Answer => ({ ret, flags: op.RT_REMEMBER });
const rememberedInt = (yes: boolean): Answer => remembered(asInt(yes));

/** Layers that a filter opened for itself, or took out of its chain, by the pointer that it has. */
const opened = new Map<number, LayerContext>();

/** The layers of `context`, for a filter that has just opened them, or took them out of its chain. */
export function pointerTo(
  module: FilterModule,
  context: LayerContext,
  connection: NativeConnection,
): number {
  const target = module.bridge.newTarget((parked, message) => {
    if (message.op === op.RT_OP_CONTEXT_CLOSE) return closeOpened(target, parked);
    return callNext(module, context.bind(parked), message, connection, shortcut);
  }, module.module);
  const shortcut = new Shortcut(module.bridge, target.nxdata, connection.shortcuts);
  opened.set(target.nxdata, context);
  return target.nxdata;
}

async function closeOpened(pointer: NextPointer, parked: Parked): Promise<void> {
  const context = openedBy(pointer.nxdata);
  opened.delete(pointer.nxdata);
  try {
    await context.bind(parked).close();
  } finally {
    pointer.free();
  }
}

/** What a filter's pointer stands for. */
function openedBy(pointer: number): LayerContext {
  const context = opened.get(pointer);
  if (context !== undefined) return context;
  throw new NbdError("EINVAL", "a C filter named a next context that it has not opened");
}

/** nbdkit_next_context_open: open the layers below once more. */
export async function openContext(
  module: FilterModule,
  below: LayersBelow | undefined,
  message: Message,
  visit: Visit | undefined,
  connection: NativeConnection,
  parked: Parked,
): Promise<number> {
  if (below === undefined) throw new NbdError("EINVAL", "a C filter has no layer below it to open");
  const readonly = message.int !== 0;
  const shared = message.flags !== 0 || visit === undefined;
  const by = visit === undefined ? undefined : { ...visit, thread: parked };
  const context = await below.open(readonly, message.text("key"), shared, by);
  return pointerTo(module, context, connection);
}

/** nbdkit_context_set_next: put what a pointer stands for below `context`; returns a pointer to what was there. */
export function setNext(
  module: FilterModule,
  context: LayerContext,
  shortcut: Shortcut,
  message: Message,
  connection: NativeConnection,
): number {
  const pointer = message.pointer("nxdata");
  shortcut.forgetAll();
  const old = context.setNext(pointer === 0 ? undefined : openedBy(pointer));
  return old === undefined ? 0 : pointerTo(module, old, connection);
}

/** A request that went through all checks: if C can do the next one of its kind alone, it shall. */
function linked(
  shortcut: Shortcut,
  next: LayerContext,
  method: DirectMethod,
  done: Awaitable<void>,
): Awaitable<void> {
  if (shortcut.tried(method)) return done;
  return after(done, () => shortcut.take(method, next));
}

/** `next->…` of a C filter in a connection: ask the checked layer below. */
export function callNext(
  module: FilterModule,
  next: LayerContext,
  message: Message,
  connection: NativeConnection,
  shortcut: Shortcut,
): Answered {
  switch (message.op) {
    case op.RT_OP_PREAD:
      return linked(
        shortcut,
        next,
        "pread",
        next.pread(message.buf(), message.offset, message.flags),
      );
    case op.RT_OP_PWRITE:
      return linked(
        shortcut,
        next,
        "pwrite",
        next.pwrite(message.buf(), message.offset, message.flags),
      );
    case op.RT_OP_FLUSH:
      return linked(shortcut, next, "flush", next.flush(message.flags));
    case op.RT_OP_TRIM:
      return linked(
        shortcut,
        next,
        "trim",
        next.trim(message.count, message.offset, message.flags),
      );
    case op.RT_OP_ZERO:
      return next.zero(message.count, message.offset, message.flags);
    case op.RT_OP_CACHE:
      return linked(
        shortcut,
        next,
        "cache",
        next.cache(message.count, message.offset, message.flags),
      );
    case op.RT_OP_EXTENTS:
      return extentsBelow(module.bridge, next, message);
    case op.RT_OP_PREPARE:
      return next.prepare();
    case op.RT_OP_FINALIZE:
      return next.finalize();
    default:
      return askNext(module, next, message, connection);
  }
}

function askNext(
  module: FilterModule,
  next: LayerContext,
  message: Message,
  connection: NativeConnection,
): Answered {
  switch (message.op) {
    case op.RT_OP_GET_SIZE:
      return after(next.getSize(), remembered);
    case op.RT_OP_CAN_WRITE:
      return after(next.canWrite(), rememberedInt);
    case op.RT_OP_CAN_FLUSH:
      return after(next.canFlush(), rememberedInt);
    case op.RT_OP_IS_ROTATIONAL:
      return after(next.isRotational(), rememberedInt);
    case op.RT_OP_CAN_TRIM:
      return after(next.canTrim(), rememberedInt);
    case op.RT_OP_CAN_ZERO:
      return after(next.canZero(), (can) =>
        remembered(module.form.triStateZero ? supports[can] : asInt(can !== "none")),
      );
    case op.RT_OP_CAN_FAST_ZERO:
      return after(next.canFastZero(), rememberedInt);
    case op.RT_OP_CAN_EXTENTS:
      return after(next.canExtents(), rememberedInt);
    case op.RT_OP_CAN_FUA:
      return after(next.canFua(), (can) => remembered(supports[can]));
    case op.RT_OP_CAN_MULTI_CONN:
      return after(next.canMultiConn(), rememberedInt);
    case op.RT_OP_CAN_CACHE:
      return after(next.canCache(), (can) => remembered(supports[can]));
    case op.RT_OP_BLOCK_SIZE:
      return after(next.blockSize(), (size) => ({ ret: 0, ...size }));
    case op.RT_OP_EXPORT_DESCRIPTION:
      return after(next.exportDescription(), (text) => connection.intern(text));
    default:
      throw new NbdError(
        "EINVAL",
        `a C filter called an unknown function of the next layer (${message.op})`,
      );
  }
}

/** C's list spans what the filter wants to know; what the layers below tell is added to it. */
function extentsBelow(bridge: Bridge, next: LayerContext, message: Message): Answered {
  const list = message.pointer("extents");
  const { count, offset, flags } = message;
  const extents = extentsOf(bridge, list);
  return after(next.extents(count, offset, flags, extents), () =>
    addToExtents(bridge, list, extents),
  );
}

/** What a filter may ask of the layers below while it has no context: in preconnect, list_exports and default_export. */
export interface Early {
  preconnect?(readonly: boolean, parked: Parked): Awaitable<void>;
  listExports?(readonly: boolean, exports: Exports, parked: Parked): Awaitable<void>;
  defaultExport?(readonly: boolean, parked: Parked): Awaitable<string | undefined>;
}

export function askEarly(
  bridge: Bridge,
  early: Early,
  message: Message,
  parked: Parked,
  connection: NativeConnection,
): Answered {
  const readonly = message.int !== 0;
  if (message.op === op.RT_OP_PRECONNECT && early.preconnect !== undefined) {
    return early.preconnect(readonly, parked);
  }
  if (message.op === op.RT_OP_LIST_EXPORTS && early.listExports !== undefined) {
    const list = message.pointer("exports");
    const exports = new Exports();
    return after(early.listExports(readonly, exports, parked), () =>
      addToExports(bridge, list, exports),
    );
  }
  if (message.op === op.RT_OP_DEFAULT_EXPORT && early.defaultExport !== undefined) {
    return after(early.defaultExport(readonly, parked), (name) => connection.intern(name));
  }
  throw new NbdError("EINVAL", `a C filter called what there is not now (${message.op})`);
}

/** The adapter of C filters of every layout: one request at a time becomes a call on a request thread. */
import { after, NbdError } from "#api";
import type { Awaitable } from "#api/generated/methods.gen";
import type { Draft, Layer, LayerContext } from "#chain/layer";

import type { Upcalled } from "../bridge/bridge.ts";
import { NativeConnection } from "../bridge/connection.ts";
import type { Parked } from "../bridge/request-thread.ts";
import type { Message } from "../bridge/upcall.ts";
import { readOpen } from "../generated/messages.gen.ts";
import * as op from "../generated/ops.gen.ts";
import { type ReleaseId, releases } from "../generated/releases.gen.ts";
import { Backend } from "./backend.ts";
import { addEarly, askEarly } from "./early.ts";
import {
  addClose,
  described,
  failed,
  handleOf,
  NativeCalls,
  type NativeHandle,
  threadModelName,
  UnderWay,
} from "./layer.ts";
import { addLifeCycle } from "./life-cycle.ts";
import type { FilterModule, NativeModule } from "./loaded-module.ts";
import { NextPointer, openContext, setNext } from "./next.ts";
import { addOlderAnswers, addQuestions } from "./questions.ts";
import { addRequests } from "./requests.ts";
import { offerShortcut, shortcutsOf } from "./shortcut.ts";

/** Make a layer of a filter with the layout of `release`. */
export function nativeFilter(loaded: NativeModule, release: ReleaseId): Layer {
  const module: FilterModule = { ...loaded, form: releases[release] };
  const draft = described("filter", module);
  // Until `*err` came, a filter reported through nbdkit_set_error or errno, whatever its plugin did.
  const native = new NativeCalls(module, ({ stored, errnoAfter }) =>
    stored !== 0 ? stored : module.form.hasErr ? 0 : errnoAfter,
  );
  const backend = new Backend(module, draft.name);
  draft.attach = (layers) => {
    backend.below = layers;
  };
  addLifeCycle(draft, module, native, backend.nxdata, (next, call) =>
    withNext(backend, next, call),
  );
  addVisits(draft, module, native, backend);
  addOpening(draft, module, native, backend);
  addClosing(draft, module, native);
  addAnswers(draft, module, native);
  addRequests(draft, module, native);
  offerShortcut(draft, module, !module.form.hasErr);
  return draft;
}

// ---- before there are clients

/** Call with a `next` for the time of the call. A failure below ends the server, as in nbdkit: C cannot hide it. */
async function withNext(
  backend: Backend,
  next: (message: Message) => Awaitable<void>,
  call: () => Promise<unknown>,
): Promise<void> {
  let inner: { readonly error: unknown } | undefined;
  const ask = async (message: Message) => {
    try {
      await next(message);
    } catch (error) {
      inner ??= { error };
      throw new NbdError("EINVAL", "");
    }
  };
  try {
    await backend.during(0, ask, call);
  } catch (error) {
    throw inner === undefined ? error : inner.error;
  }
  if (inner !== undefined) throw inner.error;
}

// ---- a client that has opened nothing yet

function addVisits(
  draft: Draft,
  module: FilterModule,
  native: NativeCalls,
  backend: Backend,
): void {
  const { bridge } = module;
  addEarly(draft, module, native, backend.nxdata, (connection, asks, call) =>
    backend.during(
      connection.pointer,
      (message, parked) => askEarly(bridge, asks, message, parked, connection),
      call,
    ),
  );
}

// ---- a client's layers

function addOpening(
  draft: Draft,
  module: FilterModule,
  native: NativeCalls,
  backend: Backend,
): void {
  if (module.form.threadModelField) {
    draft.threadModel = () => threadModelName(module.threadModel);
  }
  // In the original form the callback has no `next` to call.
  const opensNext = module.has("open") && module.form.openForm !== "readonly";
  draft.open = async (context, next, readonly, exportName, isTls) => {
    let hasOpened = false;
    const openNext: OpenNext = (ro, name, parked) => {
      hasOpened = true;
      return next(ro, name ?? exportName, parked);
    };
    const handle = newHandle(module, context, backend, openNext, exportName);
    try {
      if (module.has("open")) {
        const { own, exportName: name } = handle;
        const args = { type: "open", exportName: name, readonly, isTls } as const;
        const result = await native.run(context, handle, op.RT_OP_OPEN, args, own);
        if (result.ret === 0) throw failed(result.stored, result.reason);
        handle.pointer = Number(result.ret);
      }
      if (!opensNext) await next(readonly, exportName);
      else if (!hasOpened && module.form.threadModelField) throw openedNothing(draft, module);
    } catch (error) {
      // The callback has succeeded, and the layer below has not.
      const close = handle.pointer !== 0 && module.has("close");
      if (close) await native.run(context, handle, op.RT_OP_CLOSE, undefined);
      handle.free();
      throw error;
    }
    return handle;
  };
}

/** Filters of the original form look like those of nbdkit 1.2, whose open calls next_open. */
function openedNothing({ name }: Draft, { path }: FilterModule): NbdError {
  const remedy = `if it is of the original form: --filter-release=${path}=original`;
  return new NbdError("EIO", `filter ${name}: open did not open the layer below: ${remedy}`);
}

type OpenNext = (readonly: boolean, name: string | undefined, parked: Parked) => Awaitable<void>;

function addClosing(draft: Draft, module: FilterModule, native: NativeCalls): void {
  if (module.has("prepare")) {
    draft.prepare = async (context, readonly) => {
      const args = { type: "visit", readonly, isTls: false } as const;
      await native.number(context, op.RT_OP_PREPARE, args);
    };
  }
  draft.finalize = async (context) => {
    await handleOf(context).underWay.none();
    try {
      if (module.has("finalize")) await native.number(context, op.RT_OP_FINALIZE, undefined);
    } finally {
      // From now on the layers below may be finalized and closed.
      module.bridge.forget(handleOf(context).nxdata);
    }
  };
  addClose(draft, module, native);
}

/** What a filter's context has for a handle. */
interface FilterHandle extends NativeHandle {
  /** What it gets in open: its own context, from which it may change what is below. */
  readonly own: number;
}

/** What the filter keeps for a connection; through its nxdata it reaches the layer below. */
function newHandle(
  module: FilterModule,
  context: LayerContext,
  backend: Backend,
  openNext: OpenNext,
  exportName: string,
): FilterHandle {
  const connection = NativeConnection.of(module.bridge, context.connection);
  const named = module.form.openForm === "export-name" || module.form.openForm === "tls";
  const open: Upcalled = (message, parked) => {
    const { readonly, exportName: name } = message.read(readOpen);
    return openNext(readonly, named ? message.text(name) : undefined, parked);
  };
  const underWay = new UnderWay();
  const common = { pointer: 0, connection, underWay, exportName: connection.intern(exportName) };
  return module.form.ownContexts
    ? ownContext(module, context, backend, open, common)
    : onePointer(module, context, backend, open, common);
}

type Common = Pick<FilterHandle, "connection" | "exportName" | "pointer" | "underWay">;

/** What a filter opens the layer below with is also what it calls it with. */
function onePointer(
  module: FilterModule,
  context: LayerContext,
  backend: Backend,
  open: Upcalled,
  common: Common,
): FilterHandle {
  const { connection } = common;
  const next = new NextPointer(module, below(context), true, open);
  backend.opened(connection.pointer, next);
  return {
    ...common,
    own: next.nxdata,
    nxdata: next.nxdata,
    free: () => {
      backend.closed(connection.pointer, next);
      next.free();
      connection.release();
    },
  };
}

/** From 1.25.4 on a filter has a context, and may change what is below it. */
function ownContext(
  module: FilterModule,
  context: LayerContext,
  backend: Backend,
  open: Upcalled,
  common: Common,
): FilterHandle {
  const { bridge } = module;
  const shortcuts = shortcutsOf(common.connection);
  const first = new NextPointer(module, below(context), true);
  let next: NextPointer | undefined = first;
  let opened = false;
  /** next_open after set_next has taken the chain's layers away opens others in their place. */
  const openAnew = async (message: Message, parked: Parked): Promise<void> => {
    const { id } = context.connection;
    const { readonly, exportName } = message.read(readOpen);
    const layers = await context
      .bind(parked)
      .openNext(readonly, message.text(exportName), id === 0);
    context.setNext(layers);
    next = new NextPointer(module, layers, true);
  };
  const own = bridge.newTarget((message, parked) => {
    switch (message.op) {
      case op.RT_OP_OPEN:
        // A filter may open them itself after its next_open has failed.
        return after(next === undefined ? openAnew(message, parked) : open(message, parked), () => {
          opened = true;
        });
      case op.RT_OP_CONTEXT_OPEN:
        return openContext(module, backend.below, message, parked);
      case op.RT_OP_CONTEXT_SET_NEXT: {
        const old = next;
        next = setNext(context, old, shortcuts, message);
        if (old !== first || opened) return old?.nxdata ?? 0;
        // Layers that open has not opened yet are nothing to the filter, which does not get to know of them.
        if (next !== first) first.free();
        return 0;
      }
      default:
        throw new NbdError(
          "EINVAL",
          `a C filter used its own context as the next one (${message.op})`,
        );
    }
  }, module.module);
  bridge.setBackend(own.nxdata, backend.nxdata);
  return {
    ...common,
    own: own.nxdata,
    get nxdata() {
      return next?.nxdata ?? 0;
    },
    free: () => {
      next?.free();
      own.free();
      common.connection.release();
    },
  };
}

function addAnswers(draft: Draft, module: FilterModule, native: NativeCalls): void {
  addQuestions(draft, module, native);
  addOlderAnswers(draft, module);
  if (module.has("can_zero") && !module.form.triStateZero) {
    draft.canZero = async (context) =>
      (await native.number(context, op.RT_OP_CAN_ZERO, undefined)) === 0 ? "none" : "native";
  }
  if (module.has("can_fua")) draft.takesFua = true;
}

function below({ next }: LayerContext): LayerContext {
  if (next === undefined) throw new NbdError("EIO", "a C filter has no layer below it");
  return next;
}

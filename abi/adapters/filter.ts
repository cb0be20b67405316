/** The adapter of C filters of every layout: each call of a method becomes a call of a callback on a native thread. */
import { after, NbdError } from "#api";
import type { Awaitable } from "#api/generated/methods.gen";
import type { Draft, Layer, LayerContext } from "#chain/layer";

import type { UpcallHandler } from "../bridge/bridge.ts";
import { NativeConnection } from "../bridge/connection.ts";
import type { Parked } from "../bridge/request-thread.ts";
import type { Message } from "../bridge/upcall.ts";
import { readOpen } from "../generated/messages.gen.ts";
import * as op from "../generated/ops.gen.ts";
import { type ReleaseId, releases } from "../generated/releases.gen.ts";
import { Backend } from "./backend.ts";
import { addBeforeOpen, answerBeforeOpen } from "./before-open.ts";
import {
  addClose,
  described,
  failed,
  handleOf,
  NativeCalls,
  type NativeHandle,
  OutstandingCalls,
  threadModelName,
} from "./layer.ts";
import { addLifeCycle } from "./life-cycle.ts";
import type { FilterModule, NativeModule } from "./loaded-module.ts";
import { NextPointer, openContext, setNext } from "./next.ts";
import { addOlderAnswers, addQuestions } from "./questions.ts";
import { addRequests } from "./requests.ts";
import { offerShortcut, shortcutsOf } from "./shortcut.ts";

/** Make a layer of a filter that has the layout of `release`. */
export function nativeFilter(loaded: NativeModule, release: ReleaseId): Layer {
  const module: FilterModule = { ...loaded, form: releases[release] };
  const draft = described("filter", module);
  // Callbacks without `*err` report through nbdkit_set_error or errno.
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
  addExports(draft, module, native, backend);
  addOpening(draft, module, native, backend);
  addClosing(draft, module, native);
  addAnswers(draft, module, native);
  addRequests(draft, module, native);
  offerShortcut(draft, module, !module.form.hasErr);
  return draft;
}

// ---- before there are clients

/** Run `call` while the filter may call `next`. As in nbdkit, a failure below ends the server even if C ignores it. */
async function withNext(
  backend: Backend,
  next: (message: Message) => Awaitable<void>,
  call: () => Promise<unknown>,
): Promise<void> {
  let inner: { readonly error: unknown } | undefined;
  const handler = async (message: Message) => {
    try {
      await next(message);
    } catch (error) {
      inner ??= { error };
      throw new NbdError("EINVAL", "");
    }
  };
  try {
    await backend.during(0, handler, call);
  } catch (error) {
    throw inner === undefined ? error : inner.error;
  }
  if (inner !== undefined) throw inner.error;
}

// ---- a client that has not opened the layer

function addExports(
  draft: Draft,
  module: FilterModule,
  native: NativeCalls,
  backend: Backend,
): void {
  const { bridge } = module;
  addBeforeOpen(draft, module, native, backend.nxdata, (connection, next, call) =>
    backend.during(
      connection.pointer,
      (message, parked) => answerBeforeOpen(bridge, next, message, parked, connection),
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
  // The callback of the original form gets no `next`, so the adapter opens the layer below.
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
      // The callback has succeeded, but the layer below has failed.
      const close = handle.pointer !== 0 && module.has("close");
      if (close) await native.run(context, handle, op.RT_OP_CLOSE, undefined);
      handle.free();
      throw error;
    }
    return handle;
  };
}

/** A filter of the original form without our marker looks like one of nbdkit 1.2, whose open calls next_open. */
function openedNothing({ name }: Draft, { path }: FilterModule): NbdError {
  const remedy = `if it is of the original form: --filter-release=${path}=original`;
  return new NbdError("EIO", `${name}: open did not open the layer below: ${remedy}`);
}

type OpenNext = (readonly: boolean, name: string | undefined, parked: Parked) => Awaitable<void>;

function addClosing(draft: Draft, module: FilterModule, native: NativeCalls): void {
  if (module.has("prepare")) {
    draft.prepare = async (context, readonly) => {
      const args = { type: "access", readonly, isTls: false } as const;
      await native.number(context, op.RT_OP_PREPARE, args);
    };
  }
  draft.finalize = async (context) => {
    await handleOf(context).outstanding.ended();
    try {
      if (module.has("finalize")) await native.number(context, op.RT_OP_FINALIZE, undefined);
    } finally {
      // From now on the layers below may be finalized and closed.
      module.bridge.forget(handleOf(context).nxdata);
    }
  };
  addClose(draft, module, native);
}

/** The handle of a filter's context. */
interface FilterHandle extends NativeHandle {
  /** The nxdata of open: its own context, through which it may change the layers below. */
  readonly own: number;
}

/** The handle for a connection. Through its nxdata the filter reaches the layer below. */
function newHandle(
  module: FilterModule,
  context: LayerContext,
  backend: Backend,
  openNext: OpenNext,
  exportName: string,
): FilterHandle {
  const connection = NativeConnection.of(module.bridge, context.connection);
  const named = module.form.openForm === "export-name" || module.form.openForm === "tls";
  const open: UpcallHandler = (message, parked) => {
    const { readonly, exportName: name } = message.read(readOpen);
    return openNext(readonly, named ? message.text(name) : undefined, parked);
  };
  const outstanding = new OutstandingCalls();
  const common = { pointer: 0, connection, outstanding, exportName: connection.intern(exportName) };
  return module.form.ownContexts
    ? ownContext(module, context, backend, open, common)
    : onePointer(module, context, backend, open, common);
}

type Common = Pick<FilterHandle, "connection" | "exportName" | "pointer" | "outstanding">;

/** One nxdata both opens the layer below and calls it. */
function onePointer(
  module: FilterModule,
  context: LayerContext,
  backend: Backend,
  open: UpcallHandler,
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

/** From nbdkit 1.25.4 on a filter has a context, and may change the layers below it. */
function ownContext(
  module: FilterModule,
  context: LayerContext,
  backend: Backend,
  open: UpcallHandler,
  common: Common,
): FilterHandle {
  const { bridge } = module;
  const shortcuts = shortcutsOf(common.connection);
  const first = new NextPointer(module, below(context), true);
  let next: NextPointer | undefined = first;
  let opened = false;
  /** next_open opens other layers if set_next has removed those of the chain. */
  const openAnew = async (message: Message, parked: Parked): Promise<void> => {
    const { id } = context.connection;
    const { readonly, exportName } = message.read(readOpen);
    const layers = await context
      .bind(parked)
      .openNext(readonly, message.text(exportName), id === 0);
    context.setNext(layers);
    next = new NextPointer(module, layers, true);
  };
  const own = bridge.newUpcallHandler((message, parked) => {
    switch (message.op) {
      case op.RT_OP_OPEN:
        // A filter may call nbdkit_next_context_open after its next_open has failed.
        return after(next === undefined ? openAnew(message, parked) : open(message, parked), () => {
          opened = true;
        });
      case op.RT_OP_CONTEXT_OPEN:
        return openContext(module, backend.below, message, parked);
      case op.RT_OP_CONTEXT_SET_NEXT: {
        const old = next;
        next = setNext(context, old, shortcuts, message);
        if (old !== first || opened) return old?.nxdata ?? 0;
        // The filter never sees layers that were removed before they were opened.
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

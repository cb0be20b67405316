/** The adapter of C filters of generations S and A: one request at a time becomes a call on a request thread. */
import { after, NbdError } from "#api";
import type { Layer, LayerContext } from "#chain/layer";

import type { Message } from "./bridge.ts";
import { NativeConnection } from "./connection.ts";
import type { Awaitable, Support } from "./generated/methods.gen.ts";
import * as op from "./generated/ops.gen.ts";
import {
  described,
  type Draft,
  failed,
  handleOf,
  NativeCalls,
  type NativeHandle,
  threadModelName,
} from "./native-layer.ts";
import type { NativeModule } from "./native-module.ts";
import type { Parked } from "./request-thread.ts";

/** A filter reports through nbdkit_set_error or errno, whatever its plugin does: nbdkit-filter(3), ".pread". */
const calls = (module: NativeModule) =>
  new NativeCalls(module, ({ stored, errno }) => (stored !== 0 ? stored : errno));

/** Make a layer. `form` is "either" where it shows only at the first open whether it is S or A. */
export function nativeFilter(module: NativeModule, form: "A" | "S" | "either"): Layer {
  const draft = described("filter", module);
  const native = calls(module);
  addLifecycle(draft, module, native);
  addOpening(draft, module, native, form);
  addQueries(draft, module, native);
  addData(draft, module, native);
  return draft;
}

function addLifecycle(draft: Draft, module: NativeModule, native: NativeCalls): void {
  if (module.has("load"))
    draft.load = async () => void (await native.lifecycle({ op: op.RT_OP_LOAD }));
  if (module.has("unload")) {
    draft.unload = async () => void (await native.lifecycle({ op: op.RT_OP_UNLOAD }));
  }
  /** Call with a `next` for the time of the call. A failure below ends the server, as in nbdkit: C cannot hide it. */
  const withNext = async (
    next: (message: Message) => Awaitable<void>,
    call: (nxdata: number) => Promise<unknown>,
  ): Promise<void> => {
    let inner: { readonly error: unknown } | undefined;
    const target = module.bridge.newTarget(async (_thread, message) => {
      try {
        await next(message);
      } catch (error) {
        inner ??= { error };
        throw new NbdError("EINVAL", "");
      }
    });
    try {
      await call(target.nxdata);
    } catch (error) {
      throw inner === undefined ? error : inner.error;
    } finally {
      target.free();
    }
    if (inner !== undefined) throw inner.error;
  };
  if (module.has("config")) {
    draft.config = (next, key, value) =>
      withNext(
        (message) => next(message.text("key"), message.text("value")),
        (nxdata) =>
          native.lifecycleOrExit(
            { op: op.RT_OP_CONFIG, nxdata, ...native.strings(key, value) },
            `config callback for ${key}=${value}`,
          ),
      );
  }
  if (module.has("config_complete")) {
    draft.configComplete = (next) =>
      withNext(next, (nxdata) =>
        native.lifecycleOrExit(
          { op: op.RT_OP_CONFIG_COMPLETE, nxdata },
          "config_complete callback",
        ),
      );
  }
}

function addOpening(
  draft: Draft,
  module: NativeModule,
  native: NativeCalls,
  form: "A" | "S" | "either",
): void {
  let known: "A" | "S" | undefined = form === "either" ? undefined : form;
  draft.threadModelSettlesAtOpen = form === "either";
  draft.threadModel = () => {
    if (known === "S") return undefined;
    return threadModelName(known === "A" ? module.threadModel : 0);
  };
  draft.serverOpensNext = form !== "A";
  draft.open = async (context, next, readonly, exportName) => {
    let opened = false;
    const handle = newHandle(module, context, (ro, parked) => {
      opened = true;
      return next(ro, exportName, parked);
    });
    try {
      await openFilter(module, native, context, handle, { readonly, form });
      if (!module.has("open") && form === "A") await next(readonly, exportName);
    } catch (error) {
      handle.free();
      throw error;
    }
    if (module.has("open")) known ??= opened ? "A" : "S";
    return handle;
  };
  draft.close = async (context) => {
    const handle = handleOf(context);
    try {
      if (module.has("close")) await native.run(context, handle, { op: op.RT_OP_CLOSE });
    } finally {
      handle.free();
    }
  };
  if (module.has("prepare")) {
    draft.prepare = async (context) => void (await native.number(context, op.RT_OP_PREPARE));
  }
  if (module.has("finalize")) {
    draft.finalize = async (context) => void (await native.number(context, op.RT_OP_FINALIZE));
  }
}

async function openFilter(
  module: NativeModule,
  native: NativeCalls,
  context: LayerContext,
  handle: NativeHandle,
  how: { readonly readonly: boolean; readonly form: "A" | "S" | "either" },
): Promise<void> {
  if (!module.has("open")) return;
  const flags = how.form === "either" ? op.RT_OPEN_EITHER : 0;
  const result = await native.run(context, handle, {
    op: op.RT_OP_OPEN,
    readonly: how.readonly,
    flags,
  });
  if (result.ret === 0) throw failed(result.stored);
  handle.pointer = result.ret;
}

/** What the filter keeps for a connection; through its nxdata it reaches the layer below. */
function newHandle(
  module: NativeModule,
  context: LayerContext,
  openNext: (readonly: boolean, parked: Parked) => Awaitable<void>,
): NativeHandle {
  const { bridge } = module;
  const connection = NativeConnection.of(bridge, context.connection);
  const { next } = context;
  const target = bridge.newTarget((parked, message) => {
    if (next === undefined) throw new NbdError("EIO", "a filter has no layer below it");
    if (message.op === op.RT_OP_OPEN) return openNext(message.int !== 0, parked);
    return callNext(next.bind(parked), message);
  });
  return {
    pointer: 0,
    nxdata: target.nxdata,
    connection,
    free: () => {
      target.free();
      connection.release();
    },
  };
}

const asInt = (yes: boolean): number => (yes ? 1 : 0);

/** `next_ops->…` of a C filter: ask the checked layer below. */
function callNext(next: LayerContext, message: Message): Awaitable<bigint | number | void> {
  switch (message.op) {
    case op.RT_OP_GET_SIZE:
      return next.getSize();
    case op.RT_OP_CAN_WRITE:
      return after(next.canWrite(), asInt);
    case op.RT_OP_CAN_FLUSH:
      return after(next.canFlush(), asInt);
    case op.RT_OP_IS_ROTATIONAL:
      return after(next.isRotational(), asInt);
    case op.RT_OP_CAN_TRIM:
      return after(next.canTrim(), asInt);
    case op.RT_OP_PREAD:
      return next.pread(message.buf(), message.offset, message.flags);
    case op.RT_OP_PWRITE:
      return next.pwrite(message.buf(), message.offset, message.flags);
    case op.RT_OP_FLUSH:
      return next.flush(message.flags);
    case op.RT_OP_TRIM:
      return next.trim(message.count, message.offset, message.flags);
    case op.RT_OP_ZERO:
      return next.zero(message.count, message.offset, message.flags);
    default:
      throw new NbdError(
        "EINVAL",
        `a C filter called an unknown function of the next layer (${message.op})`,
      );
  }
}

function addQueries(draft: Draft, module: NativeModule, native: NativeCalls): void {
  const yes = (number: number) => async (context: LayerContext) =>
    (await native.number(context, number)) !== 0;
  if (module.has("get_size")) draft.getSize = (context) => native.size(context, op.RT_OP_GET_SIZE);
  if (module.has("can_write")) draft.canWrite = yes(op.RT_OP_CAN_WRITE);
  if (module.has("can_flush")) draft.canFlush = yes(op.RT_OP_CAN_FLUSH);
  if (module.has("is_rotational")) draft.isRotational = yes(op.RT_OP_IS_ROTATIONAL);
  if (module.has("can_trim")) draft.canTrim = yes(op.RT_OP_CAN_TRIM);
  const writes = ["pwrite", "trim", "zero"].some((callback) => module.has(callback));
  if (writes) {
    // These callbacks have no flags, so FUA cannot go through them: the whole layer is flushed instead.
    draft.canFua = (context): Awaitable<Support> =>
      after(context.canFlush(), (can) => (can ? "emulate" : "none"));
  }
  if (writes || module.has("pread") || module.has("flush")) {
    // The filter may keep data for one connection only, and has no way to say that it does not.
    draft.canMultiConn = () => false;
  }
  if (module.has("zero")) {
    draft.canZero = () => "native";
    draft.canFastZero = () => false;
  }
}

function addData(draft: Draft, module: NativeModule, native: NativeCalls): void {
  if (module.has("pread")) {
    draft.pread = (context, buf, offset) =>
      native.data(context, { op: op.RT_OP_PREAD, buf, offset });
  }
  if (module.has("pwrite")) {
    draft.pwrite = (context, buf, offset) =>
      native.data(context, { op: op.RT_OP_PWRITE, buf, offset });
  }
  if (module.has("flush")) draft.flush = (context) => native.data(context, { op: op.RT_OP_FLUSH });
  if (module.has("trim")) {
    draft.trim = (context, count, offset) =>
      native.data(context, { op: op.RT_OP_TRIM, count, offset });
  }
  if (module.has("zero")) {
    draft.zero = (context, count, offset, flags) =>
      native.data(context, { op: op.RT_OP_ZERO, count, offset, flags });
  }
}

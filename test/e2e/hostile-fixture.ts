/** A filter that misbehaves in reads and writes in the way that `how` says. */
import { defineFilter, NbdError, type NextOps, param } from "#api";

/** An object that throws at every access. */
function trap(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

function withGetters(error: Error): Error {
  for (const name of ["errno", "message", "stack"]) {
    Object.defineProperty(error, name, {
      get() {
        throw new Error("looked at");
      },
    });
  }
  return error;
}

const thrown: Readonly<Record<string, () => unknown>> = {
  nothing: () => undefined,
  symbol: () => Symbol("thrown"),
  plain: () => Object.create(null),
  proxy: trap,
  getters: () => withGetters(new Error("as asked")),
  "nbd-getters": () => withGetters(new NbdError("EPERM", "as asked")),
  // The constructor refuses such a name.
  "nbd-unknown": () => Object.assign(new NbdError("EIO", "as asked"), { errno: "EWHAT" }),
};

function giveAway({ buffer }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer) structuredClone(buffer, { transfer: [buffer] });
}

/** A rejection and an exception that the module does not catch. */
function forget(value: unknown): void {
  void Promise.reject(value);
  setImmediate(() => {
    throw value;
  });
}

/** The layer below, for calls outside of requests. */
let background: NextOps | undefined;

const kept: Uint8Array[] = [];

/** Write to all buffers that were lent earlier. */
function useLater(buf: Uint8Array): void {
  for (const old of kept) {
    try {
      for (let i = 0; i < old.length; i += 512) old[i] = 7;
    } catch {
      // The buffer is detached.
    }
  }
  kept.push(buf);
}

// oxlint-disable-next-line import/no-default-export -- the chain loads what a module exports by default
export default defineFilter({
  name: "hostile",
  params: { how: param.string({ default: "", help: "How to misbehave." }) },

  prepare(next) {
    background = next;
  },

  async pread(next, { how }, buf, offset, flags) {
    if (how === "keep") useLater(buf);
    if (how === "exit") process.exit(3);
    if (how === "hasty") {
      void next.pread(buf, offset, flags);
      return;
    }
    if (how === "ahead") {
      void background?.pread(new Uint8Array(buf.length), offset, flags);
      return;
    }
    await next.pread(buf, offset, flags);
    if (how === "take-later") giveAway(buf);
    if (how === "take-after") setImmediate(() => giveAway(buf));
    for (const [name, make] of Object.entries(thrown)) {
      if (how === name) throw make();
      if (how === `forget-${name}`) forget(make());
    }
  },

  pwrite(next, { how }, buf, offset, flags) {
    if (how === "keep") useLater(buf);
    const result = next.pwrite(buf, offset, flags);
    if (how === "take") giveAway(buf);
    const make = thrown[how];
    if (make !== undefined) throw make();
    return result;
  },
});

export const ways: readonly string[] = Object.keys(thrown);

/** Tests of the delay filter. They control its clock, so no test waits. */
import { describe, expect, test } from "bun:test";

import { Extents, FLAG_FAST_ZERO, NbdError, type NextOps } from "#api";
import { above, configured, errnoOf, settled, type StackOptions } from "#test/chain";

import delay, { delayFilter } from "./delay.ts";

/** A clock that only the test advances. */
class Clock {
  now = 0;
  #timers: { readonly at: number; readonly wake: () => void }[] = [];

  readonly sleep = (ms: number, ended: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const timer = { at: this.now + ms, wake: resolve };
      this.#timers.push(timer);
      ended.addEventListener("abort", () => {
        this.#timers = this.#timers.filter((it) => it !== timer);
        reject(new NbdError("ESHUTDOWN", "the client ended"));
      });
    });

  /** The times at which the sleeps end. */
  get waiting(): number[] {
    return this.#timers.map(({ at }) => at).toSorted((a, b) => a - b);
  }

  /** Advance to `ms`, and let the woken sleepers run until they wait again. */
  async goTo(ms: number): Promise<void> {
    this.now = ms;
    const due = this.#timers.filter(({ at }) => at <= ms);
    this.#timers = this.#timers.filter(({ at }) => at > ms);
    for (const { wake } of due.toSorted((a, b) => a.at - b.at)) wake();
    await settled();
  }
}

async function slow(texts: Readonly<Record<string, string>>, options: StackOptions = {}) {
  const clock = new Clock();
  const stack = await above(new Uint8Array(4096).fill(7), delayFilter(clock.sleep), texts, options);
  stack.calls.length = 0;
  return { clock, stack, next: stack.next };
}

const kinds = {
  read: (next: NextOps) => next.pread(new Uint8Array(512), 0n, 0),
  write: (next: NextOps) => next.pwrite(new Uint8Array(512), 0n, 0),
  zero: (next: NextOps) => next.zero(512, 0n, 0),
  trim: (next: NextOps) => next.trim(512, 0n, 0),
  extents: (next: NextOps) => next.extents(512, 0n, 0, new Extents(0n, 4096n)),
  cache: (next: NextOps) => next.cache(512, 0n, 0),
  flush: (next: NextOps) => next.flush(0),
} as const;

/** The kinds of request that wait, and their times. */
async function waits(texts: Readonly<Record<string, string>>): Promise<Record<string, number>> {
  const found: Record<string, number> = {};
  for (const [kind, send] of Object.entries(kinds)) {
    const { clock, stack, next } = await slow(texts);
    const done = Promise.try(() => send(next));
    await settled();
    for (const at of clock.waiting) {
      found[kind] = at;
      // No request reaches the disk before its time.
      expect(stack.calls).toEqual([]);
      await clock.goTo(at - 1);
      expect(stack.calls).toEqual([]);
      await clock.goTo(at);
    }
    await done;
    expect(stack.calls).toHaveLength(1);
    await stack.close();
  }
  return found;
}

describe("parameters", () => {
  test.each([
    { texts: {}, delays: {} },
    { texts: { rdelay: "2" }, delays: { read: 2000 } },
    { texts: { "delay-read": "20ms" }, delays: { read: 20 } },
    { texts: { rdelay: "1", "delay-read": "2" }, delays: { read: 2000 } },
    { texts: { "delay-read": "2", rdelay: "1" }, delays: { read: 1000 } },
    { texts: { wdelay: "0.1" }, delays: { write: 100, zero: 100, trim: 100 } },
    { texts: { "delay-write": "5ms" }, delays: { write: 5 } },
    { texts: { "delay-zero": "5ms" }, delays: { zero: 5 } },
    { texts: { "delay-trim": "5ms" }, delays: { trim: 5 } },
    { texts: { "delay-cache": "5ms" }, delays: { cache: 5 } },
    { texts: { "delay-extents": "5ms" }, delays: { extents: 5 } },
    {
      texts: { wdelay: "9ms", "delay-write": "1ms", "delay-zero": "2ms", "delay-trim": "0" },
      delays: { write: 1, zero: 2 },
    },
    {
      texts: { "delay-write": "1ms", "delay-zero": "2ms", wdelay: "9ms" },
      delays: { write: 9, zero: 9, trim: 9 },
    },
    { texts: { rdelay: "0", wdelay: "0ms" }, delays: {} },
  ])("$texts delays $delays", async ({ texts, delays }) => {
    expect(await waits(texts)).toEqual(delays);
  });

  const accepted = "a time of at most 2147483647ms, such as 2 (seconds), 0.5, 10ms, 50us or 100ns";
  test.each([
    ["rdelay", "-1"],
    ["delay-read", "1x"],
    ["wdelay", ""],
    ["delay-write", "abc"],
    ["delay-zero", "1 ms"],
    ["delay-trim", "1m"],
    ["delay-extents", "ms"],
    ["delay-cache", "1e3"],
    ["delay-open", "2147483648ms"],
    ["delay-close", "2147484"],
  ])("refuses %s=%s", async (key, text) => {
    await expect(configured(delay, { [key]: text })).rejects.toThrow(
      `delay: ${key}=${text}: expected ${accepted}`,
    );
  });

  test("accepts the longest time", async () => {
    await configured(delay, { rdelay: "2147483647ms", wdelay: "2147483" });
  });

  test("refuses delay-fast-zero=maybe", async () => {
    await expect(configured(delay, { "delay-fast-zero": "maybe" })).rejects.toThrow(
      "delay: delay-fast-zero=maybe: expected true or false",
    );
  });
});

describe("fast zero requests", () => {
  const fast = (next: NextOps) => next.zero(512, 0n, FLAG_FAST_ZERO);
  /** Parameters without a delay of zeroes, so that `delay-fast-zero=false` refuses nothing. */
  const untouched = [
    {},
    { rdelay: "1" },
    { "delay-write": "1" },
    { wdelay: "1", "delay-zero": "0" },
  ];

  test("wait like other zero requests", async () => {
    const { clock, stack, next } = await slow({ "delay-zero": "1" });
    const done = Promise.try(() => fast(next));
    await settled();
    expect(clock.waiting).toEqual([1000]);
    await clock.goTo(1000);
    await done;
    expect(stack.calls).toEqual([`zero 512 0 flags=${FLAG_FAST_ZERO}`]);
    await stack.close();
  });

  test.each(["delay-zero", "wdelay"])(
    "fail at once with delay-fast-zero=no and %s",
    async (key) => {
      const { clock, stack, next } = await slow({ [key]: "1", "delay-fast-zero": "no" });
      expect(await errnoOf(() => fast(next))).toBe("EOPNOTSUPP");
      expect(clock.waiting).toEqual([]);
      expect(stack.calls).toEqual([]);
      await stack.close();
    },
  );

  test.each(untouched)("reach the disk with delay-fast-zero=no and %j", async (texts) => {
    const { clock, stack, next } = await slow({ ...texts, "delay-fast-zero": "no" });
    await fast(next);
    expect(clock.waiting).toEqual([]);
    expect(stack.calls).toEqual([`zero 512 0 flags=${FLAG_FAST_ZERO}`]);
    await stack.close();
  });

  test("are the only zero requests that delay-fast-zero=no refuses", async () => {
    expect(await waits({ "delay-zero": "1", "delay-fast-zero": "no" })).toEqual({ zero: 1000 });
  });

  const slowDisk = { name: "no-fast-zero", canFastZero: () => false };
  test.each([
    { texts: {}, can: false },
    { texts: { "delay-zero": "1" }, can: false },
    { texts: { "delay-fast-zero": "no" }, can: false },
    { texts: { "delay-fast-zero": "no", "delay-zero": "1" }, can: true },
    { texts: { "delay-fast-zero": "no", wdelay: "1" }, can: true },
  ])("are offered over a disk without them, with $texts: $can", async ({ texts, can }) => {
    const { stack, next } = await slow(texts, { below: [slowDisk] });
    expect(await next.canFastZero()).toBe(can);
    await stack.close();
  });
});

describe("the filter", () => {
  const opened = async (texts: Readonly<Record<string, string>>, options: StackOptions = {}) => {
    const clock = new Clock();
    const opens: string[] = [];
    const witness = {
      name: "witness",
      open: async (
        open: (readonly: boolean, name: string) => unknown,
        _config: unknown,
        readonly: boolean,
        name: string,
      ) => {
        opens.push(`open ${readonly} ${name}`);
        await open(readonly, name);
      },
      close: () => {
        opens.push("close");
      },
    };
    const stack = above(new Uint8Array(512), delayFilter(clock.sleep), texts, {
      ...options,
      below: [witness],
    });
    await settled();
    return { clock, opens, stack };
  };

  test("waits for delay-open before it opens the layer below", async () => {
    const { clock, opens, stack } = await opened({ "delay-open": "3" }, { exportName: "x" });
    expect(clock.waiting).toEqual([3000]);
    await clock.goTo(2999);
    expect(opens).toEqual([]);
    await clock.goTo(3000);
    expect(opens).toEqual(["open false x"]);
    await (await stack).close();
  });

  test("waits for delay-close before it closes the layer below", async () => {
    const { clock, opens, stack } = await opened({ "delay-close": "3" });
    const { close } = await stack;
    const done = close();
    await settled();
    expect(clock.waiting).toEqual([3000]);
    await clock.goTo(2999);
    expect(opens).toEqual(["open false "]);
    await clock.goTo(3000);
    await done;
    expect(opens).toEqual(["open false ", "close"]);
  });

  test("ends delay-open when the client disconnects", async () => {
    const client = new AbortController();
    const { clock, opens, stack } = await opened(
      { "delay-open": "3" },
      { client: { ended: client.signal } },
    );
    client.abort("gone");
    expect(await errnoOf(() => stack)).toBe("ESHUTDOWN");
    expect({ opens, waiting: clock.waiting }).toEqual({ opens: [], waiting: [] });
  });

  test.each([
    { reason: "disconnected", times: [3000] },
    { reason: "gone", times: [] },
    { reason: "stopping", times: [] },
  ])("ends delay-close for a client that is $reason at $times", async ({ reason, times }) => {
    const client = new AbortController();
    const { clock, opens, stack } = await opened(
      { "delay-close": "3" },
      { client: { ended: client.signal } },
    );
    client.abort(reason);
    const done = (await stack).close();
    await settled();
    expect(clock.waiting).toEqual([...times]);
    await clock.goTo(3000);
    await done;
    expect(opens).toEqual(["open false ", "close"]);
  });

  test("delays neither open nor close with other parameters", async () => {
    const { clock, opens, stack } = await opened({ rdelay: "1", wdelay: "1" });
    await (await stack).close();
    expect(clock.waiting).toEqual([]);
    expect(opens).toEqual(["open false ", "close"]);
  });
});

describe("requests", () => {
  test("wait in parallel", async () => {
    const { clock, stack, next } = await slow({ rdelay: "1", wdelay: "2" });
    const bufs = Array.from({ length: 100 }, () => new Uint8Array(1));
    const reads = Promise.all(bufs.map((buf, i) => next.pread(buf, BigInt(i), 0)));
    const write = Promise.try(() => next.pwrite(new Uint8Array(1), 0n, 0));
    await settled();
    expect(clock.waiting).toEqual([...Array.from({ length: 100 }, () => 1000), 2000]);
    // A request without a delay overtakes them all.
    await next.flush(0);
    expect(stack.calls).toEqual(["flush"]);
    await clock.goTo(1000);
    await reads;
    expect(stack.calls).toHaveLength(101);
    expect(bufs.every(([byte]) => byte === 7)).toBe(true);
    await clock.goTo(2000);
    await write;
    expect(stack.calls.at(-1)).toBe("pwrite 1 0");
    await stack.close();
  });

  test("wait from the time of their arrival", async () => {
    const { clock, stack, next } = await slow({ rdelay: "1" });
    const first = Promise.try(() => kinds.read(next));
    await clock.goTo(400);
    const second = Promise.try(() => kinds.read(next));
    await settled();
    expect(clock.waiting).toEqual([1000, 1400]);
    await clock.goTo(1000);
    await first;
    expect(stack.calls).toHaveLength(1);
    await clock.goTo(1400);
    await second;
    await stack.close();
  });

  test("fail without reaching the disk if the client disconnects while they wait", async () => {
    const client = new AbortController();
    const { clock, stack, next } = await slow(
      { rdelay: "1", wdelay: "2", "delay-cache": "3", "delay-extents": "4" },
      { client: { ended: client.signal } },
    );
    const { flush: _, ...delayed } = kinds;
    const all = Object.values(delayed).map((send) => errnoOf(() => send(next)));
    await settled();
    expect(clock.waiting).toHaveLength(all.length);
    client.abort("stopping");
    expect(await Promise.all(all)).toEqual(all.map(() => "ESHUTDOWN"));
    expect(stack.calls).toEqual([]);
    await stack.close();
  });

  test.each([
    { texts: {}, delayed: false },
    {
      texts: { rdelay: "1ms", wdelay: "1ms", "delay-cache": "1ms", "delay-extents": "1ms" },
      delayed: true,
    },
  ])("pass on the error of the layer below unchanged, delayed: $delayed", async ({ texts }) => {
    const error = new NbdError("ENOSPC", "the disk is full");
    const { clock, stack, next } = await slow(texts, {
      fail: () => {
        throw error;
      },
    });
    for (const send of Object.values(kinds)) {
      const caught = Promise.try(() => send(next)).catch((it: unknown) => it);
      await settled();
      await clock.goTo(clock.now + 1);
      expect(await caught).toBe(error);
    }
    await stack.close();
  });

  test("stay synchronous without a delay", async () => {
    const { clock, stack, next } = await slow({ "delay-open": "0", "delay-close": "1" });
    for (const send of Object.values(kinds)) {
      await send(next);
      expect(send(next)).toBeUndefined();
    }
    const done = stack.close();
    await settled();
    await clock.goTo(1000);
    await done;
  });
});

test("the exported filter uses a real clock", async () => {
  await using stack = await above(new Uint8Array(512), delay, { rdelay: "2ms" });
  const start = performance.now();
  await stack.next.pread(new Uint8Array(1), 0n, 0);
  expect(performance.now() - start).toBeGreaterThanOrEqual(2);
});

/** The contract that every filter in filters/ keeps. subjects.ts has a row for each that needs one. */
import { describe, expect, test } from "bun:test";

import * as fc from "fast-check";

import {
  defineFilter,
  EXTENT_ZERO,
  Extents,
  FLAG_FUA,
  FLAG_REQ_ONE,
  NbdError,
  type NextOps,
  type Params,
} from "#api";
import { above, configured, errnoOf, type StackOptions } from "#test/chain";

import type { FilterDefinition, Window } from "../../src/api/define.ts";
import { allFilters, type Subject } from "./subjects.ts";

const size = 16384;
/** Data with zeroes in between, by sectors. */
const disk = () =>
  Uint8Array.from({ length: size }, (_, at) => (((at >> 9) * 7) % 3 === 0 ? 0 : (at % 251) + 1));

const seed = 20260101;

/** Open the filter over a disk that it can serve. */
function open(subject: Subject, options: StackOptions = {}) {
  const bytes = disk();
  subject.prepare?.(bytes);
  return above(bytes, subject.module, subject.texts, options);
}

const requests = {
  pread: (next: NextOps) => next.pread(new Uint8Array(512), 512n, 0),
  pwrite: (next: NextOps) => next.pwrite(new Uint8Array(512), 512n, 0),
  flush: (next: NextOps) => next.flush(0),
  trim: (next: NextOps) => next.trim(512, 512n, 0),
  zero: (next: NextOps) => next.zero(512, 512n, 0),
  extents: (next: NextOps) => next.extents(512, 512n, 0, new Extents(512n, 1024n)),
  cache: (next: NextOps) => next.cache(512, 512n, 0),
} as const;
type Kind = keyof typeof requests;
const kinds = Object.keys(requests) as Kind[];

/** The answers that decide whether the filter can do a request. Every filter can read. */
const abilities: Readonly<Partial<Record<Kind, (next: NextOps) => unknown>>> = {
  pwrite: (next) => next.canWrite(),
  flush: (next) => next.canFlush(),
  trim: (next) => next.canTrim(),
  zero: (next) => next.canZero(),
  extents: (next) => next.canExtents(),
  cache: (next) => next.canCache(),
};

/** The kinds of requests that the filter can do over a disk that can do all. */
async function kindsOf(subject: Subject): Promise<Kind[]> {
  await using stack = await open(subject);
  const able: Kind[] = [];
  for (const kind of kinds) {
    const can = await abilities[kind]?.(stack.next);
    if (can !== false && can !== "none") able.push(kind);
  }
  return able;
}

const filters = await Promise.all(
  (await allFilters()).map(async (it) => ({ ...it, able: await kindsOf(it) })),
);

/** A range of a disk of `total` bytes. */
const ranges = (total: number) =>
  fc
    .tuple(fc.nat(total - 1), fc.nat(total - 1))
    .map(([a, b]) => ({ offset: Math.min(a, b), count: Math.abs(a - b) + 1 }));

async function contentsOf(next: NextOps): Promise<Uint8Array> {
  const all = new Uint8Array(Number(await next.getSize()));
  await next.pread(all, 0n, 0);
  return all;
}

describe.each(filters)("$name", (subject) => {
  const { able, shows = (byte: number) => byte } = subject;
  const changes = able.filter((kind) => ["pwrite", "zero", "trim"].includes(kind));
  const reaching = able.filter((kind) => subject.keeps?.kinds.includes(kind) !== true);

  test("reports extents that cover the request, and no data as zeroes", async () => {
    await using stack = await open(subject);
    const contents = await contentsOf(stack.next);
    const property = fc.asyncProperty(
      ranges(contents.length),
      fc.boolean(),
      async ({ offset, count }, one) => {
        const list = new Extents(BigInt(offset), BigInt(contents.length));
        await stack.next.extents(count, BigInt(offset), one ? FLAG_REQ_ONE : 0, list);
        let end = BigInt(offset);
        for (const it of list.entries) {
          expect(it.offset).toBe(end);
          end += it.length;
          const part = contents.subarray(Number(it.offset), Number(end));
          if (it.type & EXTENT_ZERO) expect(part.every((byte) => byte === 0)).toBe(true);
        }
        expect(list.entries.length).toBeGreaterThan(0);
        if (!one) expect(end >= BigInt(offset + count)).toBe(true);
      },
    );
    await fc.assert(property, { seed, numRuns: 100 });
  });

  if (changes.length > 0) {
    test("reads back written data, and changes nothing else", async () => {
      await using stack = await open(subject);
      const model = await contentsOf(stack.next);
      const property = fc.asyncProperty(
        ranges(model.length),
        fc.constantFrom(...changes),
        fc.integer({ min: 1, max: 255 }),
        async ({ offset, count }, how, byte) => {
          if (how === "pwrite") {
            await stack.next.pwrite(new Uint8Array(count).fill(byte), BigInt(offset), 0);
          } else if (how === "zero") await stack.next.zero(count, BigInt(offset), 0);
          // The disk of these tests reads as zeroes after a trim.
          else await stack.next.trim(count, BigInt(offset), 0);
          model.fill(shows(how === "pwrite" ? byte : 0), offset, offset + count);
          expect(Buffer.compare(await contentsOf(stack.next), model)).toBe(0);
        },
      );
      await fc.assert(property, { seed, numRuns: 50 });
    });
  }

  if (subject.shows !== undefined) {
    test("shows the bytes of the layer below as the table says", async () => {
      await using stack = await open(subject);
      expect(await contentsOf(stack.next)).toEqual(stack.disk.map(shows));
    });
  }

  // Without extents, the server reports data.
  test.each(kinds.filter((kind) => kind !== "extents" && !able.includes(kind)))(
    "refuses %s, which it cannot do",
    async (kind) => {
      await using stack = await open(subject);
      expect(await errnoOf(() => requests[kind](stack.next))).toBe("EINVAL");
      expect(stack.calls).toEqual([]);
    },
  );

  test("gives the same answers over a disk that answers later", async () => {
    await using now = await open(subject);
    await using later = await open(subject, { later: true });
    const [one, other] = [await contentsOf(now.next), await contentsOf(later.next)];
    expect(Buffer.compare(one, other)).toBe(0);
    for (const kind of able) {
      await requests[kind](now.next);
      await requests[kind](later.next);
    }
    expect(later.calls).toEqual(now.calls);
  });

  const module = subject.module as FilterDefinition<Params, unknown>;
  if (module.window !== undefined) {
    /** The window that the filter declares, and the calls of the layer below. */
    const opened = async () => {
      const windows: Window[] = [];
      const watched: FilterDefinition<Params, unknown> = {
        ...module,
        async window(handle) {
          const window = await module.window?.(handle);
          if (window === undefined) throw new Error("no window");
          windows.push(window);
          return window;
        },
      };
      const stack = await open({ ...subject, module: watched });
      const served = await stack.next.getSize();
      const [window] = windows;
      if (window === undefined) throw new Error("the window was not asked for");
      stack.calls.length = 0;
      return { stack, served, window };
    };

    test("serves its window, from the first byte to the last", async () => {
      const { stack, served, window } = await opened();
      await using _ = stack;
      expect(served).toBe(window.size ?? BigInt(size) - window.offset);
      const start = Number(window.offset);
      const end = start + Number(served);
      const whole = stack.disk.slice();
      expect(await contentsOf(stack.next)).toEqual(whole.slice(start, end));
      const last = served - 1n;
      for (const at of [0n, last]) {
        const [byte] = [new Uint8Array(1)];
        await stack.next.pread(byte, at, 0);
        expect(byte[0]).toBe(whole[start + Number(at)]);
        await stack.next.pwrite(new Uint8Array([0xee]), at, 0);
        whole[start + Number(at)] = 0xee;
      }
      expect(stack.disk).toEqual(whole);
      await stack.next.zero(1, 0n, 0);
      await stack.next.trim(1, last, 0);
      whole[start] = 0;
      whole[end - 1] = 0;
      expect(stack.disk).toEqual(whole);
    });

    test("reaches no byte outside of its window", async () => {
      const { stack, served } = await opened();
      await using _ = stack;
      const whole = stack.disk.slice();
      const list = new Extents(served - 1n, served + 1n);
      for (const refused of [
        () => stack.next.pread(new Uint8Array(2), served - 1n, 0),
        () => stack.next.pread(new Uint8Array(1), served, 0),
        () => stack.next.pread(new Uint8Array(1), -1n, 0),
        () => stack.next.pwrite(new Uint8Array(2), served - 1n, 0),
        () => stack.next.pwrite(new Uint8Array(1), -1n, 0),
        () => stack.next.zero(2, served - 1n, 0),
        () => stack.next.trim(2, served - 1n, 0),
        () => stack.next.cache(2, served - 1n, 0),
        () => stack.next.extents(2, served - 1n, 0, list),
      ]) {
        expect(await errnoOf(refused)).toBe("EINVAL");
      }
      expect(stack.calls).toEqual([]);
      expect(stack.disk).toEqual(whole);
    });

    test("moves each kind of request by the offset of its window", async () => {
      const { stack, served, window } = await opened();
      await using _ = stack;
      const at = served - 512n;
      const below = at + window.offset;
      for (const kind of ["trim", "zero", "cache"] as const) await stack.next[kind](512, at, 0);
      await stack.next.pread(new Uint8Array(512), at, 0);
      await stack.next.pwrite(new Uint8Array(512), at, 0);
      const list = new Extents(at, served);
      await stack.next.extents(512, at, 0, list);
      expect(stack.calls).toEqual(
        ["trim", "zero", "cache", "pread", "pwrite", "extents"].map((it) => `${it} 512 ${below}`),
      );
      expect(list.entries.map(({ offset, length }) => [offset, length])).toEqual([[at, 512n]]);
    });
  }

  test.each(reaching)("stays synchronous in %s over a synchronous disk", async (kind) => {
    await using stack = await open(subject);
    await requests[kind](stack.next);
    expect(requests[kind](stack.next)).toBeUndefined();
  });

  test.each(reaching)("passes on an error of %s as it is", async (kind) => {
    for (const later of [false, true]) {
      const error = new NbdError("EUSERS", "of this test");
      let broken = false;
      await using stack = await open(subject, {
        later,
        fail: () => {
          if (broken) throw error;
        },
      });
      await stack.next.getSize();
      broken = true;
      expect(await Promise.try(() => requests[kind](stack.next)).catch((it: unknown) => it)).toBe(
        error,
      );
    }
  });

  test.each(reaching.filter((kind) => kind === "pwrite"))(
    "makes %s with FUA durable, or refuses it",
    async () => {
      await using stack = await open(subject);
      const can = (await stack.next.canFua()) !== "none";
      const write = () => stack.next.pwrite(new Uint8Array(512), 512n, FLAG_FUA);
      expect(await errnoOf(write)).toBe(can ? "no error" : "EINVAL");
      if (can) expect(stack.calls.at(-1)).toMatch(/^pwrite .* flags=2$|^flush$/);
    },
  );

  test("opens and closes the layer below once, even if the client cannot be served", async () => {
    const seen: string[] = [];
    let broken = false;
    const witness = defineFilter({
      name: "witness",
      async open(next, _config, readonly, exportName) {
        await next(readonly, exportName);
        seen.push("open");
      },
      prepare() {
        if (broken) throw new NbdError("EUSERS", "of this test");
        seen.push("prepare");
      },
      finalize: () => void seen.push("finalize"),
      close: () => void seen.push("close"),
    });
    const stack = await open(subject, { below: [witness] });
    await stack.close();
    expect(seen).toEqual(["open", "prepare", "finalize", "close"]);
    seen.length = 0;
    broken = true;
    expect(await errnoOf(() => open(subject, { below: [witness] }))).toBe("EUSERS");
    expect(seen).toEqual(["open", "close"]);
  });

  test("does not let a read-only client write", async () => {
    await using stack = await open(subject, { readonly: true });
    expect(await stack.next.canWrite()).toBe(false);
    expect(await errnoOf(() => requests.pwrite(stack.next))).toBe("EINVAL");
  });

  test("passes on the name of the export", async () => {
    const names: string[] = [];
    const witness = defineFilter({
      name: "witness",
      async open(next, _config, readonly, exportName) {
        names.push(exportName);
        await next(readonly, exportName);
      },
    });
    const stack = await open(subject, { below: [witness], exportName: "an export" });
    await stack.close();
    expect(names).toEqual(["an export"]);
  });

  test("passes on unknown parameters", async () => {
    const texts = { ...subject.texts, "no-such-parameter": "1" };
    const filter = subject.module as { readonly kind: "filter" };
    await expect(configured(filter, texts)).rejects.toThrow(/disk: unknown parameter/);
  });

  if (able.includes("pwrite")) {
    test("shares nothing with the same filter in another chain", async () => {
      await using one = await open(subject);
      await using two = await open(subject);
      const before = await contentsOf(one.next);
      await two.next.pwrite(new Uint8Array(before.length).fill(0xee), 0n, 0);
      expect(Buffer.compare(await contentsOf(one.next), before)).toBe(0);
    });
  }
});

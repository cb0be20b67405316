/** Requests from bytes that are pushed or put into `room`, in pieces of any size. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";

import { bytes, request, type RequestFields } from "#test/client";

import { quiet } from "../../test/protocol/server-fixture.ts";
import { Blocks } from "./blocks.ts";
import { CMD_DISC, CMD_READ, CMD_WRITE, EFLAG_HAS_FLAGS, EFLAG_READ_ONLY } from "./constants.ts";
import { bulkWriteBytes } from "./limits.ts";
import { RequestReader } from "./request-reader.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const size = BigInt(64 * MiB);

let logged: ReturnType<typeof quiet>;
beforeEach(() => {
  logged = quiet();
});
afterEach(() => {
  logged[Symbol.dispose]();
});

/** What a client has sent: one part is pushed, the rest waits to be received. */
class Wire {
  readonly sent: Uint8Array;
  /** The bytes that were taken. */
  at = 0;
  /** The bytes that the client has sent so far. */
  arrived = 0;
  /** The most bytes that one call receives. */
  most = Infinity;
  calls = 0;

  constructor(sent: Uint8Array) {
    this.sent = sent;
  }

  take(length: number): Uint8Array {
    const part = this.sent.slice(this.at, Math.min(this.at + length, this.arrived));
    this.at += part.length;
    return part;
  }

  readonly receive = (into: Uint8Array): number => {
    this.calls++;
    const part = this.take(Math.min(into.length, this.most));
    into.set(part);
    return part.length;
  };
}

function reader(eflags = EFLAG_HAS_FLAGS): RequestReader {
  const terms = { size, eflags, structured: false, allocation: false, canExtents: false };
  return new RequestReader(terms, new Blocks(), "test");
}

/** Feed the reader as transmission and connection do. Without a wire, all bytes are pushed. */
function drive(it: RequestReader, wire: Wire | undefined, seen: (it: RequestReader) => void): void {
  for (;;) {
    if (it.read()) {
      seen(it);
      it.ready = false;
      it.releasePayload();
      continue;
    }
    const { room } = it;
    const count = room === undefined ? 0 : (wire?.receive(room) ?? 0);
    if (count === 0) return;
    it.fill(count);
  }
}

function told(it: RequestReader): string {
  const { cookieLow, count, data, offset, refused, type } = it;
  const hash = Bun.hash(data).toString(16);
  return `${type} ${cookieLow} ${offset}+${count} ${data.length}:${hash} ${refused?.errno ?? ""}`;
}

/** Pseudorandom numbers, the same in each run. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function filled(length: number, next: (below: number) => number): Uint8Array {
  const start = next(256);
  return new Uint8Array(length).map((_, i) => (start + i * 7 + (i >> 8)) & 255);
}

/** Large writes in a row, with all kinds of requests in between. */
function conversation(next: (below: number) => number): Uint8Array {
  const requests: RequestFields[] = [];
  for (let i = 0; i < 40; i++) {
    const cookie = BigInt(i);
    const kind = next(8);
    const offset = BigInt(next(60) * MiB);
    if (kind === 0) requests.push({ type: CMD_READ, cookie, offset, count: 1 + next(MiB) });
    else if (kind === 1) requests.push({ type: 3, cookie });
    else {
      const length = kind === 2 ? 1 + next(9000) : bulkWriteBytes + next(4) * next(100_000);
      const payload = filled(length, next);
      // Some ranges cross the end.
      requests.push({ type: CMD_WRITE, cookie, offset: kind === 3 ? size : offset, payload });
    }
  }
  return bytes(...requests.map(request), request({ type: CMD_DISC }));
}

describe("bytes in `room`", () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])(
    "give the same requests as pushed bytes, cut anywhere (%d)",
    (seed) => {
      const next = numbers(seed);
      const sent = conversation(next);
      const expected: string[] = [];
      const plain = reader();
      plain.push(sent.slice());
      drive(plain, undefined, (it) => expected.push(told(it)));
      expect(plain.broken).toBe(true);
      const found: string[] = [];
      const wire = new Wire(sent);
      const mixed = reader();
      while (!mixed.broken) {
        wire.arrived = Math.min(wire.arrived + 1 + next(400_000), sent.length);
        wire.most = next(3) === 0 ? 1 + next(50) : Infinity;
        // Pushed bytes come before those that can be received.
        mixed.push(wire.take(1 + next(next(2) === 0 ? 40 : 300_000)));
        drive(mixed, wire, (it) => found.push(told(it)));
      }
      expect(found).toEqual(expected);
      expect(wire.calls).toBeGreaterThan(20);
    },
  );

  test("hold the rest of a large write, and the large writes after it", () => {
    const payload = filled(bulkWriteBytes, numbers(1));
    const sent = bytes(
      ...[1n, 2n, 3n].map((cookie) => request({ type: CMD_WRITE, cookie, payload })),
    );
    const wire = new Wire(sent);
    wire.arrived = sent.length;
    const it = reader();
    it.push(wire.take(1000));
    const cookies: number[] = [];
    drive(it, wire, ({ cookieLow, data }) => {
      expect(Buffer.compare(data, payload)).toBe(0);
      cookies.push(cookieLow);
    });
    expect(cookies).toEqual([1, 2, 3]);
    expect(wire.at).toBe(sent.length);
  });

  test("do not begin with a small write", () => {
    const small = request({ type: CMD_WRITE, payload: new Uint8Array(bulkWriteBytes - 1) });
    const wire = new Wire(bytes(small, small));
    wire.arrived = wire.sent.length;
    const it = reader();
    it.push(wire.take(1000));
    drive(it, wire, () => {});
    expect(wire.at).toBe(small.length);
  });

  test("end with the large writes: later bytes are pushed", () => {
    const large = request({ type: CMD_WRITE, payload: new Uint8Array(bulkWriteBytes) });
    const read = request({ type: CMD_READ, count: 512 });
    const wire = new Wire(bytes(large, read, read, read));
    wire.arrived = wire.sent.length;
    const it = reader();
    it.push(wire.take(100));
    const types: number[] = [];
    drive(it, wire, ({ type }) => types.push(type));
    // A read arrived where the next write was expected.
    expect(types).toEqual([CMD_WRITE, CMD_READ]);
    it.push(wire.take(56));
    drive(it, wire, ({ type }) => types.push(type));
    expect(types).toEqual([CMD_WRITE, CMD_READ, CMD_READ, CMD_READ]);
  });

  test("take memory only as the client fills it", () => {
    const count = 32 * MiB;
    const wire = new Wire(request({ type: CMD_WRITE, count, payload: new Uint8Array(2 * MiB) }));
    const it = reader();
    it.push(wire.take(28));
    for (wire.arrived = 28; wire.arrived <= 2 * MiB; wire.arrived += 100_000) {
      it.push(wire.take(10));
      drive(it, wire, () => {});
      expect(it.heldBytes).toBeLessThan(4 * wire.arrived + MiB + KiB);
    }
    expect(wire.at).toBeGreaterThan(MiB);
  });

  test("of a refused write are skipped as pushed ones are", () => {
    const large = request({ type: CMD_WRITE, payload: new Uint8Array(2 * bulkWriteBytes) });
    const wire = new Wire(bytes(large, request({ type: 3 })));
    wire.arrived = wire.sent.length;
    const it = reader(EFLAG_HAS_FLAGS | EFLAG_READ_ONLY);
    const found: string[] = [];
    while (wire.at < wire.sent.length) {
      it.push(wire.take(50_000));
      drive(it, wire, (r) => found.push(`${r.type} ${r.refused?.errno}`));
    }
    expect(found).toEqual(["1 EROFS", "3 EINVAL"]);
    expect(wire.calls).toBe(0);
  });
});

describe("memory of pushed chunks", () => {
  const payload = new Uint8Array(20_000).fill(1);
  const chunkOf = (count: number) =>
    bytes(...Array.from({ length: count }, () => request({ type: CMD_WRITE, payload }))).slice();

  test("is freed when all writes in it were answered", () => {
    const it = reader();
    const chunk = chunkOf(3);
    it.push(chunk);
    drive(it, undefined, ({ data }) => expect(Buffer.compare(data, payload)).toBe(0));
    expect(chunk).toHaveLength(0);
  });

  test("is kept while a write in it waits, though more chunks arrive", () => {
    const it = reader();
    it.push(chunkOf(1));
    expect(it.read()).toBe(true);
    it.push(chunkOf(2));
    it.push(chunkOf(2));
    let seen = 0;
    drive(it, undefined, ({ data }) => {
      expect(Buffer.compare(data, payload)).toBe(0);
      seen++;
    });
    expect(seen).toBe(5);
  });

  test("is left to layers that answer later", () => {
    const it = reader();
    const chunk = chunkOf(3);
    it.push(chunk);
    const kept: Uint8Array[] = [];
    while (it.read()) {
      kept.push(it.data);
      it.ready = false;
      if (kept.length === 2) it.keepPayload();
      else it.releasePayload();
    }
    it.push(chunkOf(1));
    expect(it.read()).toBe(true);
    expect(kept.map((data) => Buffer.compare(data, payload))).toEqual([0, 0, 0]);
    expect(chunk.length).toBeGreaterThan(60_000);
  });
});

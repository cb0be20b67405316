/** Makes sessions that can be compared: what is answered does not depend on who is faster. */
import { bytes, infoPayload, metaPayload, option, request } from "#test/client";

import { handshake } from "../grammar.ts";
import { mutated } from "../mutate.ts";
import type { Random } from "../random.ts";
import { type Script, send, type Step } from "../script.ts";

/** What a session is made for. */
export interface Ground {
  readonly world: string;
  readonly size: bigint;
  readonly readonly: boolean;
  readonly oldstyle: boolean;
  /** The flags of the handshake that clients may have. */
  readonly handshakeFlags: number;
  /** Requests run one after the other, in their order. */
  readonly ordered: boolean;
  /** Zeroes that are not handed on are written one by one: not many gigabytes of them. */
  readonly modest: boolean;
  /** Forbidden requests. */
  readonly spares: readonly number[];
  /** Zeroes may be asked for that are written fast: elsewhere that ends nbdkit 1.32.5. */
  readonly fast: boolean;
}

/** The part of the disk, at both of its ends, that sessions use. */
const usedBytes = 1n << 20n;
const patternBytes = 64 << 10;
const smallCounts = [0, 1, 7, 511, 512, 512, 513, 1024, 4096, 32768];
const mediumCounts = [65535, 65536, 65537, 98304, 131072, 1 << 20];
const largeCounts = [(1 << 20) + 1, (64 << 20) + 1, (128 << 20) + 1, 0x7fffffff, 0xffffffff];
const oddOffsets = [(1n << 63n) - 1n, (1n << 63n) - 512n, 1n << 63n, (1n << 64n) - 1n];
const flagsOfRequests = [1, 2, 4, 8, 16, 3, 17, 18, 19, 32, 0x8000];
const base = "base:allocation";

/** Random sessions in a random order, some of them malformed. */
export function session(random: Random, ground: Ground, before: Script): Script {
  const fresh = { world: ground.world, steps: steps(random, ground) };
  // What a bent client says is not known to be read in one order by several threads.
  if (!ground.ordered || ground.spares.length > 0 || !random.once(3)) return fresh;
  const bent = mutated(random, random.once(2) ? fresh : before, fresh);
  const kept = bent.steps.filter(({ kind }) => kind === "send" || kind === "turn");
  return { world: ground.world, steps: random.once(3) ? kept : [...kept, { kind: "end" }] };
}

/** Make the used parts of the disk what they were: zeroes, and a pattern in between. */
export function restoring(ground: Ground): Script {
  const parts: Uint8Array[] = ground.oldstyle ? [] : [...agreed(ground)];
  const { size } = ground;
  let cookie = 1n;
  const add = (type: number, offset: bigint, count: number, payload?: Uint8Array) => {
    if (count === 0) return;
    const fields = { type, offset, count, cookie: cookie++ };
    parts.push(request(payload === undefined ? fields : { ...fields, payload }));
  };
  for (const start of size > 2n * usedBytes ? [0n, size - usedBytes] : [0n]) {
    const length = Number(least(size - start, usedBytes));
    if (ground.oldstyle || ground.spares.includes(6)) add(1, start, length, new Uint8Array(length));
    else add(6, start, length);
    for (let at = 0; at < length; at += 4 * patternBytes) {
      const count = Math.min(patternBytes, length - at);
      add(1, start + BigInt(at), count, pattern(count));
    }
  }
  // Each is answered before the next one is asked.
  return { world: ground.world, steps: [...parts.map((part) => send(part)), { kind: "end" }] };
}

function pattern(count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => (i * 7 + (i >> 9)) % 251);
}

function agreed({ handshakeFlags }: Ground): readonly Uint8Array[] {
  // Without fixed newstyle there is no other option.
  if ((handshakeFlags & 1) === 0) return [bytes(handshakeFlags), option(1)];
  return [
    bytes(handshakeFlags),
    option(8),
    option(10, metaPayload("", [base])),
    option(7, infoPayload("")),
  ];
}

function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function steps(random: Random, ground: Ground): Step[] {
  const result: Step[] = [];
  if (!ground.oldstyle) {
    // Whose option was misunderstood may wait for its answer for ever.
    const first = ground.ordered && random.once(4) ? handshake(random, "") : agreed(ground);
    result.push(send(...first));
  }
  const count = random.below(random.once(4) ? 60 : 15);
  for (let i = 0; i < count; i += 1) {
    if (ground.ordered) {
      result.push(send(anyRequest(random, ground)));
    } else {
      const together = random.below(8);
      const reads = Array.from({ length: together }, () => readingRequest(random, ground));
      result.push(send(...reads), send(anyRequest(random, ground)));
    }
    if (random.once(8)) result.push({ kind: "turn" });
  }
  if (random.once(3)) result.push(send(request({ type: 2 })));
  if (!random.once(10)) result.push({ kind: "end" });
  return result;
}

let lastCookie = 0n;

/** Of several, the order does not matter. */
function readingRequest(random: Random, ground: Ground): Uint8Array {
  return ask(random, ground, random.pick([0, 0, 0, 3, 5, 7, 7, 9]));
}

function anyRequest(random: Random, ground: Ground): Uint8Array {
  const all = ground.oldstyle ? [0, 0, 1, 1, 7, 8] : [0, 0, 1, 1, 3, 4, 5, 6, 7, 7];
  const types = all.filter((type) => !ground.spares.includes(type));
  return ask(random, ground, random.once(30) ? random.pick([8, 9, 0xffff]) : random.pick(types));
}

function ask(random: Random, ground: Ground, type: number): Uint8Array {
  const cookie = ++lastCookie;
  const anyFlags = random.once(3) ? random.pick(flagsOfRequests) : 0;
  const flags = type === 6 && !ground.fast ? anyFlags & ~16 : anyFlags;
  if (type === 3 && !random.once(6)) return request({ type, flags, cookie });
  const count = countOf(random, ground, type);
  const offset = offsetOf(random, ground.size, count);
  const fields = { type, flags, offset, count, cookie };
  if (type !== 1) return request(fields);
  // What announces much brings little: what follows is taken for it.
  const length = count <= 1 << 20 || random.once(20) ? count : 0;
  return request({
    ...fields,
    payload: new Uint8Array(Math.min(length, 65 << 20)).fill(type + Number(cookie & 0x7fn)),
  });
}

function countOf(random: Random, { modest }: Ground, type: number): number {
  if (random.once(type <= 1 ? 200 : 12)) {
    const large = random.pick(largeCounts);
    return modest ? Math.min(large, (128 << 20) + 1) : large;
  }
  return random.once(5) ? random.pick(mediumCounts) : random.pick(smallCounts);
}

function offsetOf(random: Random, size: bigint, count: number): bigint {
  if (random.once(40)) return random.pick(oddOffsets);
  const used = Number(least(size, usedBytes));
  const inside = used === 0 ? 0n : BigInt(random.below(used));
  const edge = random.pick([0n, 1n, 511n, 512n, 4096n, 32768n, 65536n]);
  const aligned = (inside / 512n) * 512n;
  const end = size - BigInt(count);
  const picked = random.pick([
    inside,
    aligned,
    aligned,
    edge,
    end,
    end,
    end + 1n,
    size,
    size - edge,
    size - aligned,
  ]);
  return picked < 0n ? 0n : picked;
}

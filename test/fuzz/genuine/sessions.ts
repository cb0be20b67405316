/** Makes sessions whose answers do not depend on timing, so that they can be compared. */
import { bytes, infoPayload, metaPayload, option, request } from "#test/client";

import { handshake } from "../grammar.ts";
import { mutated } from "../mutate.ts";
import type { Random } from "../random.ts";
import { type Script, send, type Step } from "../script.ts";

/** The properties of a configuration that sessions depend on. */
export interface SessionOptions {
  readonly name: string;
  readonly size: bigint;
  readonly readonly: boolean;
  readonly oldstyle: boolean;
  /** The handshake flags that clients may send. */
  readonly handshakeFlags: number;
  /** The server runs requests one after the other, in order. */
  readonly ordered: boolean;
  /** A filter emulates zeroes or caching by many small requests, so avoid requests of gigabytes. */
  readonly emulates: boolean;
  /** Types of requests that sessions must not use. */
  readonly forbidden: readonly number[];
  /** Requests for fast zeroes are allowed. Without support for them, they end nbdkit 1.32.5. */
  readonly fast: boolean;
}

/** Sessions use this much at each end of the disk. */
const usedBytes = 1n << 20n;
const patternBytes = 64 << 10;
const smallCounts = [0, 1, 7, 511, 512, 512, 513, 1024, 4096, 32768];
const mediumCounts = [65535, 65536, 65537, 98304, 131072, 1 << 20];
const largeCounts = [(1 << 20) + 1, (64 << 20) + 1, (128 << 20) + 1, 0x7fffffff, 0xffffffff];
const oddOffsets = [(1n << 63n) - 1n, (1n << 63n) - 512n, 1n << 63n, (1n << 64n) - 1n];
const flagsOfRequests = [1, 2, 4, 8, 16, 3, 17, 18, 19, 32, 0x8000];
const base = "base:allocation";

/** A random session. Some are mutated, so malformed. */
export function session(random: Random, options: SessionOptions, before: Script): Script {
  const fresh = { configuration: options.name, steps: steps(random, options) };
  // With several threads, the order in which a malformed session is read is not known.
  if (!options.ordered || options.forbidden.length > 0 || !random.once(3)) return fresh;
  const bent = mutated(random, random.once(2) ? fresh : before, fresh);
  const kept = bent.steps.filter(({ kind }) => kind === "send" || kind === "turn");
  return { configuration: options.name, steps: random.once(3) ? kept : [...kept, { kind: "end" }] };
}

/** Restore the used parts of the disk: zeroes, and a pattern in between. */
export function restoring(options: SessionOptions): Script {
  const parts: Uint8Array[] = options.oldstyle ? [] : [...agreed(options)];
  const { size } = options;
  let cookie = 1n;
  const add = (type: number, offset: bigint, count: number, payload?: Uint8Array) => {
    if (count === 0) return;
    const fields = { type, offset, count, cookie: cookie++ };
    parts.push(request(payload === undefined ? fields : { ...fields, payload }));
  };
  for (const start of size > 2n * usedBytes ? [0n, size - usedBytes] : [0n]) {
    const length = Number(least(size - start, usedBytes));
    if (options.oldstyle || options.forbidden.includes(6))
      add(1, start, length, new Uint8Array(length));
    else add(6, start, length);
    for (let at = 0; at < length; at += 4 * patternBytes) {
      const count = Math.min(patternBytes, length - at);
      add(1, start + BigInt(at), count, pattern(count));
    }
  }
  // Each request waits for the answer to the one before it.
  return {
    configuration: options.name,
    steps: [...parts.map((part) => send(part)), { kind: "end" }],
  };
}

function pattern(count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => (i * 7 + (i >> 9)) % 251);
}

function agreed({ handshakeFlags }: SessionOptions): readonly Uint8Array[] {
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

function steps(random: Random, options: SessionOptions): Step[] {
  const result: Step[] = [];
  if (!options.oldstyle) {
    // A client whose option is misread may wait forever for the answer.
    const first = options.ordered && random.once(4) ? handshake(random, "") : agreed(options);
    result.push(send(...first));
  }
  const count = random.below(random.once(4) ? 60 : 15);
  for (let i = 0; i < count; i += 1) {
    if (options.ordered) {
      result.push(send(anyRequest(random, options)));
    } else {
      const together = random.below(8);
      const reads = Array.from({ length: together }, () => readingRequest(random, options));
      result.push(send(...reads), send(anyRequest(random, options)));
    }
    if (random.once(8)) result.push({ kind: "turn" });
  }
  if (random.once(3)) result.push(send(request({ type: 2 })));
  if (!random.once(10)) result.push({ kind: "end" });
  return result;
}

let lastCookie = 0n;

/** A request that reads, so that the order of several does not matter. */
function readingRequest(random: Random, options: SessionOptions): Uint8Array {
  return ask(random, options, random.pick([0, 0, 0, 3, 5, 7, 7, 9]));
}

function anyRequest(random: Random, options: SessionOptions): Uint8Array {
  const all = options.oldstyle ? [0, 0, 1, 1, 7, 8] : [0, 0, 1, 1, 3, 4, 5, 6, 7, 7];
  const types = all.filter((type) => !options.forbidden.includes(type));
  return ask(random, options, random.once(30) ? random.pick([8, 9, 0xffff]) : random.pick(types));
}

function ask(random: Random, options: SessionOptions, type: number): Uint8Array {
  const cookie = ++lastCookie;
  const anyFlags = random.once(3) ? random.pick(flagsOfRequests) : 0;
  const flags = type === 6 && !options.fast ? anyFlags & ~16 : anyFlags;
  if (type === 3 && !random.once(6)) return request({ type, flags, cookie });
  const count = countOf(random, options, type);
  const offset = offsetOf(random, options.size, count);
  const fields = { type, flags, offset, count, cookie };
  if (type !== 1) return request(fields);
  // A write of many bytes has little data, so the server takes the next messages for it.
  const length = count <= 1 << 20 || random.once(20) ? count : 0;
  return request({
    ...fields,
    payload: new Uint8Array(Math.min(length, 65 << 20)).fill(type + Number(cookie & 0x7fn)),
  });
}

function countOf(random: Random, { emulates }: SessionOptions, type: number): number {
  if (random.once(type <= 1 ? 200 : 12)) {
    const large = random.pick(largeCounts);
    return emulates ? Math.min(large, (128 << 20) + 1) : large;
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

/** Makes scripts of clients that mostly follow the protocol, and sometimes violate it. */
import { bytes, infoPayload, metaPayload, option } from "#test/client";

import { configurationNames } from "./configurations.ts";
import { diskBytes } from "./flaky-plugin.ts";
import { handshakeMessage } from "./null-tls.ts";
import type { Random } from "./random.ts";
import { joined, type Script, send, type Step } from "./script.ts";

const base = "base:allocation";
const names = [
  "",
  "main",
  "main",
  "main",
  "main",
  "no",
  "närrisch",
  "x".repeat(4096),
  "x".repeat(4097),
  "a\0b",
];
const queries = [
  base,
  base,
  base,
  "base:",
  "",
  "qemu:",
  "base:other",
  "y".repeat(4097),
  `${base}\0`,
];
const numbers = [0, 1, 2, 3, 5, 6, 7, 8, 8, 9, 9, 10, 10, 10, 10, 11, 99, 0xffffffff];

/** Numbers at which the server's behaviour changes. */
const edges = [
  0,
  1,
  511,
  512,
  4096,
  diskBytes - 1,
  diskBytes,
  diskBytes + 1,
  64 << 10,
  (64 << 20) + 1,
  (128 << 20) + 1,
  0x7fffffff,
  0xffffffff,
];

/** Most requests are small, since a few large ones are enough. */
const smallCounts = [0, 1, 100, 512, 512, 512, 513, 1024, 4096];

export function script(random: Random): Script {
  const configuration = random.pick(configurationNames);
  const messages: Uint8Array[] = [];
  if (configuration !== "oldstyle" || random.once(16))
    messages.push(...handshake(random, configuration));
  const onlyReads = random.once(5);
  const count = onlyReads ? 30 : random.once(4) ? 2000 : 100;
  for (let i = random.below(count); i > 0; i--) {
    messages.push(onlyReads ? randomRead(random) : randomRequest(random));
  }
  if (random.once(3)) messages.push(request({ type: 2, flags: 0, offset: 0n, count: 0 }));
  return { configuration, steps: arranged(random, messages) };
}

/** One message, for mutations. */
export function message(random: Random): Uint8Array {
  return random.once(3) ? randomOption(random) : randomRequest(random);
}

/** Flags and options of a client. Most clients get as far as requests. */
export function handshake(random: Random, configuration: string): Uint8Array[] {
  const flags = random.once(12) ? random.pick([0, 1, 2, 4, 0x80000003]) : 3;
  const options = [bytes(flags)];
  if (configuration.endsWith("tls") && !random.once(4)) options.push(option(5), handshakeMessage);
  for (let i = random.below(random.once(10) ? 40 : 6); i > 0; i--) {
    options.push(randomOption(random));
  }
  if (!random.once(3)) options.push(option(8));
  if (!random.once(3)) options.push(option(10, metaPayload("main", [base])));
  if (random.once(6)) options.push(option(1, bytes(random.pick(names))));
  else if (!random.once(12)) options.push(option(7, infoPayload("main", infos(random))));
  return options;
}

function randomOption(random: Random): Uint8Array {
  const number = random.pick(numbers);
  switch (number) {
    case 1:
      // EXPORT_NAME ends the handshake.
      return random.once(8) ? option(1, bytes(random.pick(names))) : option(3);
    case 2:
      return random.once(8) ? option(2) : option(99);
    case 6:
    case 7:
      return option(random.once(4) ? 7 : 6, infoPayload(random.pick(names), infos(random)));
    case 9:
    case 10: {
      const count = random.below(4);
      const wanted = Array.from({ length: count }, () => random.pick(queries));
      return option(number, metaPayload(random.pick(names), wanted));
    }
    default:
      return option(number, random.once(4) ? random.bytes(random.below(40)) : new Uint8Array(0));
  }
}

function infos(random: Random): number[] {
  return Array.from({ length: random.below(5) }, () => random.pick([0, 1, 2, 3, 4, 0xffff]));
}

let cookie = 0;

function randomRequest(random: Random): Uint8Array {
  const type = random.once(40)
    ? random.pick([8, 9, 100, 0xffff])
    : random.pick([0, 0, 1, 3, 4, 5, 6, 7]);
  const flags = random.once(3) ? random.pick([1, 2, 4, 8, 16, 3, 17, 18, 19, 32, 0x8000]) : 0;
  const offset = random.once(4) ? random.pick(edges) : random.below(diskBytes / 512) * 512;
  const count = random.once(40) ? random.pick(edges) : random.pick(smallCounts);
  if (type === 3 && !random.once(8)) return request({ type, flags, offset: 0n, count: 0 });
  const plain = { type, flags, offset: BigInt(offset), count };
  if (random.once(2000)) return request(plain, 0, 0x25609514);
  if (random.once(200)) return request({ ...plain, offset: (1n << 63n) - 1n });
  if (random.once(200)) return request({ ...plain, offset: (1n << 64n) - 1n });
  // A write of many bytes has no data, so the server takes the next messages for it.
  return request(plain, type === 1 && (count <= 128 << 10 || !random.once(50)) ? count : 0);
}

/** A larger read. Its data can be compared, since the script has no writes. */
function randomRead(random: Random): Uint8Array {
  const count = random.once(3) ? random.pick(smallCounts) : random.below(diskBytes);
  const offset = BigInt(random.below(diskBytes - count));
  const flags = random.once(8) ? 4 : 0;
  const type = random.once(20) ? 7 : 0;
  return request({ type, flags: type === 0 ? flags : 0, offset, count });
}

interface Fields {
  readonly type: number;
  readonly flags: number;
  readonly offset: bigint;
  readonly count: number;
}

/** A request with a cookie of its own and `dataBytes` of any data. */
function request(fields: Fields, dataBytes = 0, magic = 0x25609513): Uint8Array {
  const data = new Uint8Array(28 + Math.min(dataBytes, diskBytes + 1));
  const view = new DataView(data.buffer);
  view.setUint32(0, magic);
  view.setUint16(4, fields.flags);
  view.setUint16(6, fields.type);
  view.setUint32(12, ++cookie);
  view.setBigUint64(16, fields.offset);
  view.setUint32(24, fields.count);
  data.fill(cookie & 0xff, 28);
  return data;
}

/** Cut the messages into pieces, with other events of the connection in between. */
function arranged(random: Random, messages: readonly Uint8Array[]): Step[] {
  const all = joined(messages);
  const steps: Step[] = [];
  const pieces = random.once(2) ? 1 : 1 + random.below(random.once(8) ? 200 : 6);
  const cuts = Array.from({ length: pieces - 1 }, () => random.below(all.length + 1));
  let at = 0;
  for (const cut of [...cuts.toSorted((a, b) => a - b), all.length]) {
    if (cut > at) steps.push(send(all.subarray(at, cut)));
    at = cut;
    if (random.once(3)) steps.push(event(random));
  }
  if (random.once(4)) steps.push({ kind: random.pick(["end", "reset", "stop"]) });
  return steps;
}

/** An event while the client sends. */
export function event(random: Random): Step {
  if (random.once(60)) return { kind: random.pick(["end", "reset", "stop"]) };
  const kind = random.pick(["turn", "turn", "drain", "take"] as const);
  return kind === "take" ? { kind, bytes: random.pick([0, 1, 17, 100, 5000, 100_000]) } : { kind };
}

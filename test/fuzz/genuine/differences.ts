/** The intended differences from nbdkit 1.32.5, each as narrow as possible. */
import type { Exchange, OptionExchange, RequestExchange } from "./conversation.ts";

/** One option or request, with the answers of both servers. */
export interface Pairing {
  readonly ours: Exchange;
  readonly genuine: Exchange;
  readonly clientFlags: number;
  /** The configuration's name. */
  readonly configuration: string;
  readonly oldstyle: boolean;
  readonly readonly: boolean;
  /** The exchanges before it. */
  readonly before: readonly Exchange[];
}

export interface Difference {
  readonly name: string;
  readonly why: string;
  /** Whether the difference explains the two answers. */
  readonly explains: (it: Pairing) => boolean;
  /** From here on the servers read the client's bytes differently, so nothing more can be compared. */
  readonly diverges?: boolean;
}

const ACK = 1;
const INVALID = 0x80000003;
const META = 4;
const FIXED = 1;

function options({
  ours,
  genuine,
}: Pairing): readonly [OptionExchange, OptionExchange] | undefined {
  return ours.kind === "option" && genuine.kind === "option" ? [ours, genuine] : undefined;
}

function requests({
  ours,
  genuine,
}: Pairing): readonly [RequestExchange, RequestExchange] | undefined {
  return ours.kind === "request" && genuine.kind === "request" ? [ours, genuine] : undefined;
}

/** The replies to an option that each server answered with exactly one. */
function answers(it: Pairing): { option: number; ours: number; genuine: number } | undefined {
  const [ours, genuine] = options(it) ?? [];
  const [mine, second] = ours?.replies ?? [];
  const [theirs, other] = genuine?.replies ?? [];
  if (ours === undefined || mine === undefined || theirs === undefined) return undefined;
  if (second !== undefined || other !== undefined) return undefined;
  return { option: ours.option, ours: mine.type, genuine: theirs.type };
}

export const differences: readonly Difference[] = [
  {
    name: "structured-twice",
    why: "1.32.5 agrees to structured replies again and again; since 1.33.2 the second time is refused, as here",
    explains: (it) => {
      const found = answers(it);
      return found?.option === 8 && found.ours === INVALID && found.genuine === ACK;
    },
  },
  {
    name: "duplicates-answered-once",
    why: "docs/nbdkit.md: an option that requests the same thing twice gets one answer for both",
    explains: (it) => {
      const [ours, genuine] = options(it) ?? [];
      if (ours === undefined || genuine === undefined) return false;
      const [mine, theirs] = [ours, genuine].map(({ replies }) =>
        replies.map(({ type, data }) => `${type} ${Buffer.from(data).toString("hex")}`),
      );
      return (
        [6, 7, 9, 10].includes(ours.option) &&
        new Set(mine).size === mine?.length &&
        [...new Set(theirs)].join() === mine.join()
      );
    },
  },
  {
    name: "listed-again",
    why: "1.32.5 lists its exports once; since 1.45 again and again, as here",
    explains: (it) => {
      const [ours, genuine] = options(it) ?? [];
      return (
        ours?.option === 3 &&
        ours.replies.at(-1)?.type === ACK &&
        genuine?.replies.length === 1 &&
        genuine.replies[0]?.type === INVALID &&
        it.before.some((one) => one.kind === "option" && one.option === 3)
      );
    },
  },
  {
    name: "memory-block-sizes",
    why: "nbdkit's memory plugin reports block sizes since 1.38",
    explains: (it) => {
      const [ours, genuine] = options(it) ?? [];
      if (ours === undefined || genuine === undefined || !it.configuration.startsWith("memory/"))
        return false;
      const [mine = [], theirs] = [ours, genuine].map(({ replies }) =>
        replies.map(({ type, data }) => `${type} ${Buffer.from(data).toString("hex")}`),
      );
      const others = mine.filter((reply) => reply !== "3 00030000000100008000ffffffff");
      return (
        (ours.option === 6 || ours.option === 7) &&
        others.length === mine.length - 1 &&
        [...new Set(theirs)].join() === others.join()
      );
    },
  },
  {
    name: "contexts-before-refusal",
    why: "1.32.5 reads queries one by one, and reports contexts before it refuses the next query",
    explains: (it) => {
      const [ours, genuine] = options(it) ?? [];
      if (ours === undefined || genuine === undefined) return false;
      const contexts = genuine.replies.slice(0, -1);
      return (
        (ours.option === 9 || ours.option === 10) &&
        ours.replies.length === 1 &&
        contexts.length > 0 &&
        contexts.every(({ type }) => type === META) &&
        ours.replies[0]?.type === INVALID &&
        genuine.replies.at(-1)?.type === INVALID
      );
    },
  },
  {
    name: "bytes-after-the-payload",
    why: "docs/nbdkit.md: the server refuses payloads with bytes behind their end",
    explains: (it) => {
      const [ours, genuine] = options(it) ?? [];
      if (ours === undefined || genuine === undefined) return false;
      const accepted = genuine.replies.at(-1)?.type === ACK;
      return (
        (ours.option === 9 || ours.option === 10) &&
        ours.replies[0]?.type === INVALID &&
        accepted &&
        endOfQueries(ours.payload) < ours.length
      );
    },
  },
  {
    name: "contexts-after-refusal",
    why: "docs/nbdkit.md: a refused choice of meta contexts leaves none, and INFO keeps the chosen ones",
    explains: (it) => {
      const [ours, genuine] = requests(it) ?? [];
      if (ours?.answer === undefined || genuine?.answer === undefined || ours.type !== 7) {
        return false;
      }
      const codes = [ours.answer.error, genuine.answer.error];
      if (!codes.includes(0) || !codes.includes(22)) return false;
      return it.before.some(
        (one) =>
          one.kind === "option" &&
          (one.option === 6 || (one.option === 10 && one.replies.at(-1)?.type !== ACK)),
      );
    },
  },
  {
    name: "payload-without-fixed",
    why: "1.32.5 takes the payload of an option for the next option where the client is not fixed newstyle",
    explains: (it) => {
      const [ours] = options(it) ?? [];
      return (it.clientFlags & FIXED) === 0 && ours !== undefined && ours.option !== 1;
    },
    diverges: true,
  },
  {
    name: "refused-before-the-payload",
    why: "1.32.5 refuses some options before their payload has arrived, as clients see that leave within it",
    explains: (it) => {
      const [ours, genuine] = options(it) ?? [];
      if (ours === undefined || genuine === undefined || ours.complete) return false;
      return ours.replies.length === 0 && (genuine.replies[0]?.type ?? 0) >= 0x80000000;
    },
    diverges: true,
  },
  {
    name: "error-chunks",
    why: "docs/nbdkit.md: errors of structured replies have a message and an offset",
    explains: (it) => {
      const [ours, genuine] = requests(it) ?? [];
      if (ours?.answer === undefined || genuine?.answer === undefined) return false;
      if (ours.answer.error === 0 || ours.answer.error !== genuine.answer.error) return false;
      const { form } = ours.answer;
      return (form === "8001" || form === "8002") && /^(simple|8001)$/.test(genuine.answer.form);
    },
  },
  {
    name: "holes",
    why: "docs/nbdkit.md: large reads report zeroes as holes",
    explains: (it) => {
      const [ours, genuine] = requests(it) ?? [];
      if (ours?.answer === undefined || genuine?.answer === undefined) return false;
      const large = ours.type === 0 && ours.count >= 64 << 10 && (ours.flags & 4) === 0;
      const { form, error, data } = ours.answer;
      if (!large || error !== 0 || !/^[12]( [12])*$/.test(form) || genuine.answer.form !== "1") {
        return false;
      }
      return genuine.answer.error === 0 && Buffer.compare(data, genuine.answer.data) === 0;
    },
  },
  {
    name: "cut-at-4-GiB",
    why: "docs/nbdkit.md: extents longer than 4 GiB less 64 KiB are cut there; 1.32.5 cuts them at 2^32-1",
    explains: (it) => {
      const [ours, genuine] = requests(it) ?? [];
      if (ours?.answer?.form !== "5" || genuine?.answer?.form !== "5") return false;
      const mine = Buffer.from(ours.answer.data);
      const theirs = Buffer.from(genuine.answer.data);
      const last = mine.length - 8;
      return (
        mine.length <= theirs.length &&
        mine.readUInt32BE(last) === 0xffff0000 &&
        theirs.readUInt32BE(last) > 0xffff0000 &&
        mine.subarray(0, last).equals(theirs.subarray(0, last)) &&
        mine.subarray(last + 4).equals(theirs.subarray(last + 4, last + 8))
      );
    },
  },
  {
    name: "file-system-decides",
    why: "without punched holes, the kernel's writeback decides which zeroes of a file become a hole",
    explains: (it) => {
      const [ours, genuine] = requests(it) ?? [];
      if (!it.configuration.startsWith("file/") || !it.configuration.includes("/nozero-notrim/"))
        return false;
      return ours?.answer?.form === "5" && genuine?.answer?.form === "5";
    },
  },
  {
    name: "oldstyle-flags",
    why: "docs/nbdkit.md: with -o, 1.32.5 does not know its own flags, and only accepts reads and writes",
    explains: (it) => {
      const [ours, genuine] = requests(it) ?? [];
      if (!it.oldstyle || ours?.answer === undefined || genuine?.answer === undefined) return false;
      const needsFlag = [3, 4, 5, 6].includes(ours.type) || (ours.flags & 1) !== 0;
      return needsFlag && genuine.answer.error === 22;
    },
    // Only one of the disks has the written data.
    diverges: true,
  },
];

/** The position where the queries of a payload end. */
function endOfQueries(payload: Uint8Array): number {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  let at = 4 + view.getUint32(0);
  if (at + 4 > payload.length) return payload.length;
  const count = view.getUint32(at);
  at += 4;
  for (let i = 0; i < count && at + 4 <= payload.length; i++) at += 4 + view.getUint32(at);
  return at;
}

/** Crashes of nbdkit 1.32.5, by its last messages. */
export const crashes: readonly {
  readonly name: string;
  readonly words: RegExp;
  readonly why: string;
}[] = [
  {
    name: "fast-zero-ends-it",
    words: /Assertion `c->can_fast_zero == 1' failed/,
    why: "docs/nbdkit.md: fast zeroes that were not offered end nbdkit",
  },
  {
    name: "write-to-readonly-oldstyle-ends-it",
    words: /Assertion `c->can_write == 1' failed/,
    why: "docs/nbdkit.md: with -o, nbdkit ends when a client writes to a read-only export",
  },
  {
    name: "long-extents-end-it",
    words: /Assertion `.*(length|nr_blocks|num_blocks|count).*' failed/,
    why: "CVE-2025-47711: extents of 4 GiB and a request of 0xffffffff bytes end 1.32.5",
  },
];

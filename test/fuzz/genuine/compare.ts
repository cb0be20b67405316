/** Compares what two servers answered to the same client. */
import { type Difference, differences, type Pairing } from "./differences.ts";
import type { Answer, Asked, OptionAsked, RequestAsked, Talk } from "./talk.ts";

/** What a client saw of a server. */
export interface Heard {
  readonly talk: Talk;
  /** The server closed the connection before the client did. */
  readonly closed: boolean;
}

export interface Compared {
  /** What differs and may not. */
  readonly mistake?: string;
  /** The stated differences that were met. */
  readonly met: readonly { readonly name: string }[];
  /** How many options and requests there were. */
  readonly asked: number;
}

interface World {
  readonly world: string;
  /** Replies come in the order of requests. */
  readonly ordered: boolean;
  readonly oldstyle: boolean;
  readonly readonly: boolean;
}

export function compare(world: World, ours: Heard, genuine: Heard): Compared {
  return { ...compared(world, ours, genuine), asked: ours.talk.asked.length };
}

type Outcome = Omit<Compared, "asked">;

function compared(world: World, ours: Heard, genuine: Heard): Outcome {
  const met: Difference[] = [];
  const greetings = [ours, genuine].map(({ talk }) => hex(talk.greeting));
  if (greetings[0] !== greetings[1]) return differ("greeting", greetings, met);
  const count = Math.max(ours.talk.asked.length, genuine.talk.asked.length);
  for (let i = 0; i < count; i++) {
    const [mine, theirs] = [ours.talk.asked[i], genuine.talk.asked[i]];
    const texts = [mine, theirs].map((asked) => (asked === undefined ? "?" : answerText(asked)));
    if (same(mine, theirs)) continue;
    if (mine === undefined || theirs === undefined) return differ(`message ${i}`, texts, met);
    const { clientFlags } = ours.talk;
    const before = ours.talk.asked.slice(0, i);
    const pairing: Pairing = { ...world, ours: mine, genuine: theirs, clientFlags, before };
    const difference = differences.find(({ explains }) => explains(pairing));
    if (difference === undefined) return differ(`${i}: ${questionText(mine)}`, texts, met);
    met.push(difference);
    if (difference.parts === true) return { met };
  }
  const orders = [ours, genuine].map(({ talk }) => talk.order.join(" "));
  if (world.ordered && orders[0] !== orders[1]) return differ("order of replies", orders, met);
  const rests = [ours, genuine].map(({ talk }) => hex(talk.rest));
  if (rests[0] !== rests[1]) return differ("what follows", rests, met);
  const ends = [ours, genuine].map(({ closed }) => (closed ? "closed" : "open"));
  if (ends[0] !== ends[1]) return differ("connection", ends, met);
  return { met };
}

function differ(
  what: string,
  [ours, genuine]: readonly string[],
  met: readonly Difference[],
): Outcome {
  return { mistake: `${what}\n  ours:    ${ours}\n  genuine: ${genuine}`, met };
}

function same(ours: Asked | undefined, genuine: Asked | undefined): boolean {
  if (ours === undefined || genuine === undefined) return false;
  if (ours.kind === "option") return genuine.kind === "option" && sameOption(ours, genuine);
  return genuine.kind === "request" && sameAnswer(ours.answer, genuine.answer);
}

function sameOption(ours: OptionAsked, genuine: OptionAsked): boolean {
  if (ours.replies.length !== genuine.replies.length) return false;
  const texts = [ours, genuine].map(answerText);
  return texts[0] === texts[1];
}

function sameAnswer(ours: Answer | undefined, genuine: Answer | undefined): boolean {
  if (ours === undefined || genuine === undefined) return ours === genuine;
  if (ours.error !== genuine.error || ours.form !== genuine.form) return false;
  return Buffer.compare(ours.data, genuine.data) === 0;
}

function questionText(asked: OptionAsked | RequestAsked): string {
  if (asked.kind === "option") {
    return `option ${asked.option}, ${asked.length} bytes: ${hex(asked.payload)}`;
  }
  const { type, flags, offset, count } = asked;
  return `request ${type}, flags ${flags}, offset ${offset}, count ${count}`;
}

function answerText(asked: OptionAsked | RequestAsked): string {
  if (asked.kind === "option") {
    const replies = asked.replies.map(({ type, data }) => `${type.toString(16)} ${hex(data)}`);
    if (asked.exported !== undefined) replies.push(`exported ${hex(asked.exported)}`);
    return `${replies.length} replies: ${replies.join("; ")}`;
  }
  const { answer } = asked;
  if (answer === undefined) return "nothing";
  return `error ${answer.error}, ${answer.form}, ${answer.data.length} bytes: ${hex(answer.data)}`;
}

const shownBytes = 64;

/** Its beginning, and a hash of what is long. */
function hex(data: Uint8Array): string {
  const text = Buffer.from(data.subarray(0, shownBytes)).toString("hex");
  return data.length > shownBytes ? `${text}... (${Bun.hash(data).toString(16)})` : text;
}

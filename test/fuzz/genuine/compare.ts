/** Compares the answers of two servers to the same client. */

import type {
  Answer,
  Conversation,
  Exchange,
  OptionExchange,
  RequestExchange,
} from "./conversation.ts";
import { type Difference, differences, type Pairing } from "./differences.ts";

/** A client's view of a session. */
export interface Observed {
  readonly conversation: Conversation;
  /** The server closed the connection before the client did. */
  readonly closed: boolean;
}

export interface Compared {
  /** A difference that is not intended. */
  readonly mistake?: string;
  /** The intended differences that occurred. */
  readonly met: readonly { readonly name: string }[];
  /** The number of options and requests. */
  readonly messages: number;
}

interface Tested {
  readonly name: string;
  /** Replies come in the order of requests. */
  readonly ordered: boolean;
  readonly oldstyle: boolean;
  readonly readonly: boolean;
}

export function compare(tested: Tested, ours: Observed, genuine: Observed): Compared {
  return { ...compared(tested, ours, genuine), messages: ours.conversation.exchanges.length };
}

type Outcome = Omit<Compared, "messages">;

function compared(tested: Tested, ours: Observed, genuine: Observed): Outcome {
  const met: Difference[] = [];
  const greetings = [ours, genuine].map(({ conversation }) => hex(conversation.greeting));
  if (greetings[0] !== greetings[1]) return differ("greeting", greetings, met);
  const count = Math.max(ours.conversation.exchanges.length, genuine.conversation.exchanges.length);
  for (let i = 0; i < count; i++) {
    const [mine, theirs] = [ours.conversation.exchanges[i], genuine.conversation.exchanges[i]];
    const texts = [mine, theirs].map((exchange) =>
      exchange === undefined ? "?" : answerText(exchange),
    );
    if (same(mine, theirs)) continue;
    if (mine === undefined || theirs === undefined) return differ(`message ${i}`, texts, met);
    const { clientFlags } = ours.conversation;
    const before = ours.conversation.exchanges.slice(0, i);
    const pairing: Pairing = {
      ...tested,
      configuration: tested.name,
      ours: mine,
      genuine: theirs,
      clientFlags,
      before,
    };
    const difference = differences.find(({ explains }) => explains(pairing));
    if (difference === undefined) return differ(`${i}: ${questionText(mine)}`, texts, met);
    met.push(difference);
    if (difference.diverges === true) return { met };
  }
  const orders = [ours, genuine].map(({ conversation }) => conversation.order.join(" "));
  if (tested.ordered && orders[0] !== orders[1]) return differ("order of replies", orders, met);
  const rests = [ours, genuine].map(({ conversation }) => hex(conversation.rest));
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

function same(ours: Exchange | undefined, genuine: Exchange | undefined): boolean {
  if (ours === undefined || genuine === undefined) return false;
  if (ours.kind === "option") return genuine.kind === "option" && sameOption(ours, genuine);
  return genuine.kind === "request" && sameAnswer(ours.answer, genuine.answer);
}

function sameOption(ours: OptionExchange, genuine: OptionExchange): boolean {
  if (ours.replies.length !== genuine.replies.length) return false;
  const texts = [ours, genuine].map(answerText);
  return texts[0] === texts[1];
}

function sameAnswer(ours: Answer | undefined, genuine: Answer | undefined): boolean {
  if (ours === undefined || genuine === undefined) return ours === genuine;
  if (ours.error !== genuine.error || ours.form !== genuine.form) return false;
  return Buffer.compare(ours.data, genuine.data) === 0;
}

function questionText(exchange: OptionExchange | RequestExchange): string {
  if (exchange.kind === "option") {
    return `option ${exchange.option}, ${exchange.length} bytes: ${hex(exchange.payload)}`;
  }
  const { type, flags, offset, count } = exchange;
  return `request ${type}, flags ${flags}, offset ${offset}, count ${count}`;
}

function answerText(exchange: OptionExchange | RequestExchange): string {
  if (exchange.kind === "option") {
    const replies = exchange.replies.map(({ type, data }) => `${type.toString(16)} ${hex(data)}`);
    if (exchange.exported !== undefined) replies.push(`exported ${hex(exchange.exported)}`);
    return `${replies.length} replies: ${replies.join("; ")}`;
  }
  const { answer } = exchange;
  if (answer === undefined) return "nothing";
  return `error ${answer.error}, ${answer.form}, ${answer.data.length} bytes: ${hex(answer.data)}`;
}

const shownBytes = 64;

/** The start of the bytes, and a hash if they are long. */
function hex(data: Uint8Array): string {
  const text = Buffer.from(data.subarray(0, shownBytes)).toString("hex");
  return data.length > shownBytes ? `${text}... (${Bun.hash(data).toString(16)})` : text;
}

/** The calls of one context that have not been answered yet. */
import { codeOf, countUnderWay } from "./running.ts";

/** What a layer got as `next`. */
export interface NextView {
  /** Whether a call of it has not been answered yet. */
  readonly isBusy: boolean;
}

/** A call that a layer answers later. */
export interface Call<N extends NextView = NextView> {
  readonly method: string;
  /** The range; both are 0 where the method has none. */
  readonly count: number;
  readonly offset: bigint;
  /** What the layer got as `next` for this call. The calls that it waits for are those of that context. */
  readonly next: N | undefined;
  /** The promise that the caller got; undefined until it is made. */
  answer: Promise<unknown> | undefined;
  /** When it began, by `turnTime`. */
  readonly since: number;
  /** What the watchdog knows it by; 0 outside contexts. */
  readonly code: number;
  /** Its index among the calls. */
  place: number;
}

/** Whose calls they are, for messages. */
export interface CallsOwner {
  readonly layer: { readonly inTypeScript?: boolean };
  readonly state: { readonly link: { readonly number: number } };
  readonly title: string;
  readonly logName: string;
}

let turn = 0;
const endTurn = (): void => {
  turn = 0;
};

/**
 * performance.now(), read once in each turn of the event loop, since reading the clock would be a
 * part of what a request costs. Later calls of the same turn have later times.
 */
export function turnTime(): number {
  if (turn === 0) {
    turn = performance.now();
    queueMicrotask(endTurn);
  }
  return (turn += 1e-6);
}

/** Those of contexts that have not answered all of their calls. */
export const busyCalls = new Set<Calls>();

/** The calls of one context. */
export class Calls<N extends NextView = NextView> {
  readonly owner: CallsOwner | undefined;
  readonly #all: Call<N>[] = [];
  #idle: PromiseWithResolvers<void> | undefined;

  constructor(owner?: CallsOwner) {
    this.owner = owner;
  }

  get all(): readonly Call<N>[] {
    return this.#all;
  }

  get count(): number {
    return this.#all.length;
  }

  /** The one that began last, of those that are under way. */
  get newest(): Call<N> | undefined {
    return this.#all.at(-1);
  }

  begin(method: string, count: number, offset: bigint, next: N | undefined): Call<N> {
    const place = this.#all.length;
    const { owner } = this;
    const code = owner === undefined ? 0 : codeOf(owner.state.link.number, method);
    const since = turnTime();
    const call: Call<N> = { method, count, offset, next, answer: undefined, since, code, place };
    if (place === 0) busyCalls.add(this);
    countUnderWay(code, 1);
    this.#all.push(call);
    return call;
  }

  end(call: Call<N>): void {
    countUnderWay(call.code, -1);
    const last = this.#all.pop();
    if (last !== undefined && last !== call) {
      this.#all[call.place] = last;
      last.place = call.place;
    }
    if (this.#all.length > 0) return;
    busyCalls.delete(this);
    this.#idle?.resolve();
  }

  /** Hand over the errors of those that are under way, which the layer does not wait for. */
  onFailure(handle: (error: unknown) => void): void {
    for (const { answer } of this.#all) answer?.then(undefined, handle);
  }

  /** Resolves when all have been answered. */
  async idle(): Promise<void> {
    while (this.#all.length > 0) {
      this.#idle ??= Promise.withResolvers();
      await this.#idle.promise;
      this.#idle = undefined;
    }
  }
}

/**
 * Resolves when all calls of the layer with this state that are under way now have been answered, whichever view they
 * came by.
 */
export async function presentAnswers(state: CallsOwner["state"]): Promise<void> {
  const answers: Call["answer"][] = [];
  for (const { all, owner } of busyCalls) {
    if (owner?.state === state) answers.push(...all.map(({ answer }) => answer));
  }
  await Promise.allSettled(answers);
}

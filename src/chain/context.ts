/**
 * One layer in one connection, as the parts of the seam see it: opening.ts for its life, questions.ts for what it can
 * do, and requests.ts for data. checked.ts implements it.
 */
import type { Awaitable } from "../api/generated/methods.gen.ts";
import type { Errno } from "../lib/errno.ts";
import type { NbdError } from "../lib/errors.ts";
import type { Layer, LayerContext } from "./layer.ts";
import type { State } from "./state.ts";

export interface Context extends LayerContext {
  readonly layer: Layer;
  /** All views of the layer in this connection share it. */
  readonly state: State;
  readonly next: Context | undefined;
  /** The layer below, for calls that belong to no call of this layer. */
  readonly lower: Context | undefined;
  /** The filter that has this view as its `next`, where it has it for one call only. */
  readonly user: Layer | undefined;
  readonly logName: string;
  bind(thread: unknown): Context;
  /** Makes the view that the layer has as `next` its own, for work that belongs to no call: `prepare`. */
  keepNext(): void;

  /** The layer below, for what this one leaves out. Throws `errno` in a plugin, which has no `method`. */
  below(method?: string, errno?: Errno): Context;
  /** Calls the layer for a request without data. */
  run(
    method: string,
    count: number,
    offset: bigint,
    call: () => Awaitable<void>,
  ): void | Promise<void>;
  /** Calls the layer for something else than data. What it throws goes on as it is. */
  question<T>(method: string, call: () => Awaitable<T>): Awaitable<T>;
  /** The error of the layer's `method`, as it reaches the layer above. */
  failure(error: unknown, method: string): NbdError;
  /** Prints a debug line about something else than data. */
  control(message: string): void;
  trace(message: string): void;
}

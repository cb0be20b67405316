/** The part of the layer below that a filter serves, if it declares one: nbdkit-filter(3), "Windows". */
import { after } from "../api/awaitable.ts";
import type { Window } from "../api/define.ts";
import type { Awaitable } from "../api/generated/methods.gen.ts";
import { NbdError } from "../lib/errors.ts";
import { Extents } from "../lib/extents.ts";
import { oddAnswer, withType } from "./answers.ts";
import type { Context } from "./context.ts";
import { attempt } from "./failure.ts";

/** Methods that follow from a filter's window. A filter that declares one has none of them. */
export const derivedMethods = [
  "getSize",
  "pread",
  "pwrite",
  "trim",
  "zero",
  "extents",
  "cache",
] as const;

/** Ask for the window, see that it lies within the layer below, remember where it begins, and return its size. */
export function windowSize(context: Context): Awaitable<bigint> {
  const { layer, state } = context;
  return after(context.below().getSize(), (below) => {
    const window = attempt(
      () => layer.window?.(context),
      (error) => context.failure(error, "window"),
    );
    return after(window, (found) => {
      const { offset, size } = checkedWindow(layer.name, found);
      if (offset + (size ?? 0n) > below) {
        const what = size === undefined ? `offset (${offset})` : `offset+size (${offset}+${size})`;
        throw new NbdError(
          "EINVAL",
          `${layer.name}: window: ${what} is larger than the real size (${below})`,
        );
      }
      state.windowOffset = offset;
      return size ?? below - offset;
    });
  });
}

/** Throws EIO where a module has returned something else than its type says. */
function checkedWindow(name: string, window: unknown): Window {
  if (typeof window !== "object" || window === null) {
    throw oddAnswer({ name, inTypeScript: true }, "window", window, "an object with an offset");
  }
  const { offset, size } = window as { readonly offset?: unknown; readonly size?: unknown };
  return {
    offset: checkedNumber(name, "an offset", offset),
    size: size === undefined ? undefined : checkedNumber(name, "a size", size),
  };
}

function checkedNumber(name: string, what: string, it: unknown): bigint {
  if (typeof it === "bigint" && it >= 0n) return it;
  const message = `${name}: window returned ${what} of ${withType(it)}: expected a bigint from 0n`;
  throw new NbdError("EIO", message);
}

/** Report about a range what the layer below reports about the one that the window moves it to. */
export function windowExtents(
  context: Context,
  count: number,
  offset: bigint,
  flags: number,
  extents: Extents,
): Awaitable<void> {
  const start = context.state.offsetBelow(offset);
  const moved = start - offset;
  const below = new Extents(start, extents.end + moved);
  return after(context.below().extents(count, start, flags, below), () => {
    for (const it of below) extents.add(it.offset - moved, it.length, it.type);
  });
}

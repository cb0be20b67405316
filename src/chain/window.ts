/** The part of the layer below that a filter serves, if it declares one: nbdkit-filter(3), "Windows". */
import { after } from "../api/awaitable.ts";
import type { Window } from "../api/define.ts";
import type { Awaitable, NextOps } from "../api/generated/methods.gen.ts";
import { NbdError } from "../lib/errors.ts";
import { Extents } from "../lib/extents.ts";
import { oddAnswer, withType } from "./answers.ts";
import type { Caller } from "./calls.ts";
import { attempt } from "./failure.ts";
import type { Link } from "./link.ts";

/** The methods that the seam derives from a filter's window. A filter with a window has none of them. */
export const derivedMethods = [
  "getSize",
  "pread",
  "pwrite",
  "trim",
  "zero",
  "extents",
  "cache",
] as const;

/** Ask the layer for its window, which has to lie within the `size` of the layer below. */
export function windowOf(
  link: Link,
  caller: Caller,
  size: bigint,
): Awaitable<{ offset: bigint; size: bigint }> {
  const { name } = link.layer;
  const window = attempt(
    () => link.layer.window?.(caller),
    (error) => link.failure(error, "window", caller.connection),
  );
  return after(window, (found) => {
    const { offset, size: own } = checkedWindow(name, found);
    if (offset + (own ?? 0n) > size) {
      const what = own === undefined ? `offset (${offset})` : `offset+size (${offset}+${own})`;
      const message = `${name}: window: ${what} is larger than the real size (${size})`;
      throw new NbdError("EINVAL", message);
    }
    return { offset, size: own ?? size - offset };
  });
}

/** Throws EIO if the module returned anything that its type does not allow. */
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

/** Report about a range from `offset` on what the `next` layer reports about the one from `start` on. */
export function windowExtents(
  next: NextOps,
  start: bigint,
  count: number,
  offset: bigint,
  flags: number,
  extents: Extents,
): Awaitable<void> {
  const moved = start - offset;
  const below = new Extents(start, extents.end + moved);
  return after(next.extents(count, start, flags, below), () => {
    for (const it of below) extents.add(it.offset - moved, it.length, it.type);
  });
}

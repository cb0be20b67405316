/** What filters do with the extents of the layer below: nbdkit-filter(3), "extents". */
import { Extents } from "../lib/extents.ts";
import { after, isPromise } from "./awaitable.ts";
import { FLAG_REQ_ONE } from "./generated/constants.gen.ts";
import type { Awaitable, NextOps } from "./generated/methods.gen.ts";

/**
 * Tell of a range what the layer below says of the one that lies `shift` bytes further on there.
 *
 * @example
 * extents(next, config, count, offset, flags, extents) {
 *   return shiftedExtents(next, count, offset, flags, extents, config.offset);
 * }
 */
export function shiftedExtents(
  next: NextOps,
  count: number,
  offset: bigint,
  flags: number,
  extents: Extents,
  shift: bigint,
): Awaitable<void> {
  const start = offset + shift;
  const below = new Extents(start, extents.end + shift);
  return after(next.extents(count, start, flags, below), () => {
    for (const it of below) extents.add(it.offset - shift, it.length, it.type);
  });
}

/** What the layer below says of all of a range, however often it has to be asked: nbdkit_extents_full. */
export function fullExtents(
  next: NextOps,
  count: number,
  offset: bigint,
  flags: number,
): Awaitable<Extents> {
  const full = new Extents(offset, offset + BigInt(count));
  const rest = (): Awaitable<Extents> => {
    for (;;) {
      const { covered, end } = full;
      if (covered >= end) return full;
      const part = new Extents(covered, end);
      const take = (): void => {
        for (const it of part) full.add(it.offset, it.length, it.type);
        // No layer below the seam says nothing. A list that is full takes no more.
        if (full.covered === covered) throw new Error(`no extents from ${covered} on`);
      };
      const told = next.extents(Number(end - covered), covered, flags & ~FLAG_REQ_ONE, part);
      if (isPromise(told)) return after(told, () => (take(), rest()));
      take();
    }
  };
  return rest();
}

/** What filters do with the extents of the layer below: nbdkit-filter(3), "extents". */
import { Extents } from "../lib/extents.ts";
import { after, isPromise } from "./awaitable.ts";
import { FLAG_REQ_ONE } from "./generated/constants.gen.ts";
import type { Awaitable, NextOps } from "./generated/methods.gen.ts";

/** The extents of the layer below for a whole range, in as many calls as needed: nbdkit_extents_full. */
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
        // The seam guarantees at least one extent per call, so the list must be full.
        if (full.covered === covered) throw new Error(`no extents from ${covered} on`);
      };
      const told = next.extents(Number(end - covered), covered, flags & ~FLAG_REQ_ONE, part);
      if (isPromise(told)) return after(told, () => (take(), rest()));
      take();
    }
  };
  return rest();
}

/** Zeroes by writing, and caches by reading, for layers that cannot: nbdkit-plugin(3), ".zero" and ".cache". */
import { after } from "../api/awaitable.ts";
import { FLAG_FUA } from "../api/generated/constants.gen.ts";
import type { Awaitable, NextOps, Support } from "../api/generated/methods.gen.ts";
import { emulatedPieceBytes } from "./limits.ts";

/** Call `go` for one piece after the other. Other requests run between pieces, even if layers answer at once. */
function pieces(
  count: number,
  go: (at: number, length: number) => Awaitable<void>,
): Awaitable<void> {
  const first = go(0, Math.min(emulatedPieceBytes, count));
  return count > emulatedPieceBytes ? others(count, go, first) : first;
}

async function others(
  count: number,
  go: (at: number, length: number) => Awaitable<void>,
  first: Awaitable<void>,
): Promise<void> {
  await first;
  for (let done = emulatedPieceBytes; done < count; done += emulatedPieceBytes) {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
    await go(done, Math.min(emulatedPieceBytes, count - done));
  }
}

/** Write zeroes. If FUA is native, every piece has the flag, otherwise only the last one. */
export function emulateZero(
  layer: NextOps,
  count: number,
  offset: bigint,
  flags: number,
): Awaitable<void> {
  const zeroes = new Uint8Array(Math.min(emulatedPieceBytes, count));
  const fua: Awaitable<Support> = flags & FLAG_FUA ? layer.canFua() : "none";
  return after(fua, (support) =>
    pieces(count, (at, length) => {
      const last = at + length === count;
      const wanted = support === "native" || (support === "emulate" && last) ? FLAG_FUA : 0;
      return layer.pwrite(zeroes.subarray(0, length), offset + BigInt(at), wanted);
    }),
  );
}

/** Read, and drop the data. */
export function emulateCache(layer: NextOps, count: number, offset: bigint): Awaitable<void> {
  const sink = new Uint8Array(Math.min(emulatedPieceBytes, count));
  return pieces(count, (at, length) =>
    layer.pread(sink.subarray(0, length), offset + BigInt(at), 0),
  );
}

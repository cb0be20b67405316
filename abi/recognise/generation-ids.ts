/** The generations of `struct nbdkit_filter`, and which releases of nbdkit have which. Data; generation.ts reads it. */

import type { GenerationId } from "../generated/generations.gen.ts";

export type { GenerationId };

interface Row {
  /** The first release with the layout; the one before the next row's is the last. */
  readonly first: string;
  readonly id: GenerationId;
  /** The releases, in words. */
  readonly releases: string;
}

/** S is in none: it was only proposed. Within one stable series nothing ever changed. */
export const releases: readonly Row[] = [
  { first: "1.1.27", id: "A", releases: "1.1.27 to 1.2" },
  { first: "1.3.0", id: "B", releases: "1.3.0 to 1.9.8 (stable: 1.4, 1.6, 1.8)" },
  { first: "1.9.9", id: "C", releases: "1.9.9 to 1.11.9 (stable: 1.10)" },
  { first: "1.11.10", id: "D", releases: "1.11.10 to 1.13.3 (stable: 1.12)" },
  { first: "1.13.4", id: "E", releases: "1.13.4 to 1.14" },
  { first: "1.15.1", id: "F0", releases: "1.15.1" },
  { first: "1.15.2", id: "F", releases: "1.15.2 to 1.16" },
  { first: "1.17.1", id: "f1", releases: "1.17.1 to 1.17.11" },
  { first: "1.18.0", id: "G", releases: "1.18.0 to 1.21.11 (stable: 1.18, 1.20)" },
  { first: "1.21.12", id: "g1", releases: "1.21.12 to 1.21.19" },
  { first: "1.21.20", id: "g2", releases: "1.21.20 and 1.21.21" },
  { first: "1.21.22", id: "g3", releases: "1.21.22 and 1.21.23" },
  { first: "1.21.24", id: "H", releases: "1.21.24 to 1.23.5 (stable: 1.22)" },
  { first: "1.23.6", id: "I", releases: "1.23.6 to 1.25.3 (stable: 1.24)" },
  { first: "1.25.4", id: "i1", releases: "1.25.4 to 1.25.7" },
  { first: "1.25.8", id: "J", releases: "1.25.8 to 1.29.15 (stable: 1.26, 1.28)" },
  { first: "1.29.16", id: "K", releases: "1.29.16 to 1.35.8 (stable: 1.30, 1.32, 1.34)" },
  { first: "1.35.9", id: "L", releases: "1.35.9 to 1.43.8 (stable: 1.36, 1.38, 1.40, 1.42)" },
  { first: "1.43.9", id: "M", releases: "1.43.9 to 1.48.1 (stable: 1.44, 1.46, 1.48)" },
];

/** In the order in which they came. */
export const generationIds: readonly GenerationId[] = ["S", ...releases.map(({ id }) => id)];

/** The newest release whose layout is known. Later releases of its stable series have the same one. */
export const newestKnown = "1.48.1";

/** The next release had another number. */
export const newestOfApi2 = "1.13.9";

/** API numbers that stand for particular generations. From 6 on the number was never raised again. */
export const generationsOfApi: readonly (readonly GenerationId[] | undefined)[] = [
  undefined,
  ["S", "A"],
  // E before its release: the number was raised only for 1.14.0, and backported to what was stable then.
  ["B", "C", "D", "E"],
  ["C"],
  ["D"],
  ["E"],
  ["F0", "F", "f1", "G", "g1", "g2", "g3", "H", "I", "i1", "J", "K", "L", "M"],
];

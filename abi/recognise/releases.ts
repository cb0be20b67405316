/** The releases of nbdkit, and the layout of `struct nbdkit_filter` that each of them has. */
import { newestLayout, oldReleaseNames } from "#api/generated/constants.gen";

import type { ReleaseId } from "../generated/releases.gen.ts";

export type { ReleaseId };

type StableId = Exclude<ReleaseId, "original">;

interface Releases {
  /** The first release with the layout, including development releases. The next row's ends it. */
  readonly first: string;
  /** The last release with the layout, or its stable series. */
  readonly last: string;
}

/**
 * By the name of the layout, which is the first stable release with it, or the first one at all. No release has the
 * original form. The layout never changed within a stable series.
 */
const releasesByLayout: Readonly<Record<StableId, Releases>> = {
  "1.2": { first: "1.1.27", last: "1.2" },
  "1.4": { first: "1.3.0", last: "1.9.8" },
  "1.10": { first: "1.9.9", last: "1.11.9" },
  "1.12": { first: "1.11.10", last: "1.13.3" },
  "1.14": { first: "1.13.4", last: "1.14" },
  "1.15.1": { first: "1.15.1", last: "1.15.1" },
  "1.16": { first: "1.15.2", last: "1.16" },
  "1.17.1": { first: "1.17.1", last: "1.17.11" },
  "1.18": { first: "1.18.0", last: "1.21.11" },
  "1.21.12": { first: "1.21.12", last: "1.21.19" },
  "1.21.20": { first: "1.21.20", last: "1.21.21" },
  "1.21.22": { first: "1.21.22", last: "1.21.23" },
  "1.22": { first: "1.21.24", last: "1.23.5" },
  "1.24": { first: "1.23.6", last: "1.25.3" },
  "1.25.4": { first: "1.25.4", last: "1.25.7" },
  "1.26": { first: "1.25.8", last: "1.29.15" },
  "1.30": { first: "1.29.16", last: "1.35.8" },
  "1.36": { first: "1.35.9", last: "1.43.8" },
  "1.44": { first: "1.43.9", last: "1.48.1" },
};

/** The layout that the user chose for a filter. */
export interface ChosenLayout {
  readonly id: ReleaseId;
  /** The option that chose it, as it was typed: `--filter-release`. */
  readonly option: string;
  /** The value of the option behind the filter. */
  readonly text: string;
}

/** In order of time. */
export const layoutRows: readonly (Releases & { readonly id: ReleaseId })[] =
  // The type of the table has all keys.
  (Object.keys(releasesByLayout) as StableId[]).map((id) => ({ id, ...releasesByLayout[id] }));

/** In order of time. */
export const releaseIds: readonly ReleaseId[] = ["original", ...layoutRows.map(({ id }) => id)];

/** The newest release whose layout is known. Later releases of its stable series have the same layout. */
export const newestKnown = releasesByLayout[newestLayout].last;

/** The last release with API 2. */
export const newestOfApi2 = "1.13.9";

/** The layouts with each API number. Since 6 the number has not been raised. */
export const layoutsOfApi: readonly (readonly ReleaseId[] | undefined)[] = [
  undefined,
  ["original", "1.2"],
  // Development releases before 1.14 also have 2. 1.14.0 raised the number, and stable releases took over the change.
  ["1.4", "1.10", "1.12", "1.14"],
  ["1.10"],
  ["1.12"],
  ["1.14"],
  releaseIds.slice(releaseIds.indexOf("1.15.1")),
];

type Version = readonly [major: number, minor: number, micro: number];

/** The three numbers that `1.32.5`, `1.32.5-1.fc37` or `1.33.11 (extra)` begins with, or undefined. */
function parseVersion(text: string): Version | undefined {
  const match = /^(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})(?![\d.])/.exec(text);
  return match === null ? undefined : [Number(match[1]), Number(match[2]), Number(match[3])];
}

function compare(a: Version, b: Version): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}

export function isAfter(text: string, last: string): boolean {
  const [version, limit] = [parseVersion(text), parseVersion(last)];
  return version !== undefined && limit !== undefined && compare(version, limit) > 0;
}

/** The layout does not change within a stable series, so later releases of the newest one are known too. */
function isOfNewestSeries([major, minor]: Version): boolean {
  const newest = parseVersion(newestKnown);
  return newest !== undefined && major === newest[0] && minor === newest[1] && minor % 2 === 0;
}

/** The layout of this release: "newer" for later than all known ones, undefined for a release without filters. */
export function layoutOfVersion(text: string): ReleaseId | "newer" | undefined {
  const version = parseVersion(text);
  if (version === undefined) return undefined;
  if (isAfter(text, newestKnown) && !isOfNewestSeries(version)) return "newer";
  const row = layoutRows.findLast(({ first }) => {
    const from = parseVersion(first);
    return from !== undefined && compare(from, version) <= 0;
  });
  return row?.id;
}

/**
 * The layout that a user names: by `original`, by a stable series, or by a full version. Undefined for unknown ones.
 * Two numbers of a development series name no layout, since the layout changed within such series. Any third number is
 * accepted: stable series get new ones all the time, and none changes the layout.
 */
export function layoutNamed(text: string): ReleaseId | undefined {
  if (text === "original") return text;
  const isSeries = /^\d+\.\d*[02468]$/.test(text);
  if (!isSeries && !/^\d+\.\d+\.\d+$/.test(text)) return undefined;
  const id = layoutOfVersion(isSeries ? `${text}.0` : text);
  return id === "newer" ? undefined : id;
}

/** The texts that layoutNamed accepts, for messages. */
export const namedLayouts = `a stable release of nbdkit from 1.2 to ${newestKnown.replace(/\.\d+$/, "")}, such as 1.8, a full version such as 1.21.12, or original`;

/** The layout by its former name, a letter; undefined if no layout had it. */
export function layoutOfOldName(name: string): ReleaseId | undefined {
  const known: Readonly<Record<string, ReleaseId>> = oldReleaseNames;
  return Object.hasOwn(known, name) ? known[name] : undefined;
}

/** The former names. */
export const oldNames = Object.keys(oldReleaseNames);

/** The stable series between two releases: 1.18 and 1.20 from 1.18.0 to 1.21.11. */
export function stableSeries({ first, last }: Releases): string[] {
  const [major, from = 0] = first.split(".").map(Number);
  const to = Number(last.split(".")[1]);
  const minors = Array.from({ length: to - from + 1 }, (_, index) => from + index);
  return minors.filter((minor) => minor % 2 === 0).map((minor) => `${major}.${minor}`);
}

/** The releases of nbdkit that have a layout. */
export function releasesOf(id: ReleaseId): string {
  const row = layoutRows.find((it) => it.id === id);
  if (row === undefined) return "none, it came before nbdkit 1.2";
  const { first, last } = row;
  const all = first === last ? first : `${first} to ${last}`;
  const stable = stableSeries(row).filter((series) => series !== last);
  return `nbdkit ${all}${stable.length === 0 ? "" : ` (stable: ${stable.join(", ")})`}`;
}

/** Recognises which generation a filter's struct is of. Nothing is guessed: what cannot be told has to be said. */
import { ConfigError, quoted } from "#api";
import { filterMarkerS } from "#api/generated/constants.gen";

import { generations } from "../generated/generations.gen.ts";
import {
  type GenerationId,
  generationsOfApi,
  newestKnown,
  newestOfApi2,
  releases,
} from "./generation-ids.ts";

/** What the start of a filter's struct says of it. */
export interface FilterHead {
  /** The first 8 bytes, unsigned: _struct_size of S and A. */
  readonly size: bigint;
  /** The int at 0: _api_version from B on. */
  readonly first: number;
  /** The int at 8: _api_version of S and A. */
  readonly second: number;
  /** The int at 12: _thread_model of A. */
  readonly third: number;
  /** The string at 8 (`_version`, from F0 on) or at 24 (`version` of B to E); undefined for NULL. */
  text(offset: 8 | 24): string | undefined;
  /** The size of the struct in the file's symbol table, where it has one. */
  symbolSize(): number | undefined;
}

export interface Recognised {
  /** "either": S or A, which shows when it is opened. */
  readonly id: GenerationId | "either";
  readonly apiVersion: number;
  /** The release, newer than all that are known: the struct has to show whether it is still the newest known one. */
  readonly unknownRelease?: string | undefined;
}

/** What is larger is no size, but two ints or a pointer. */
const largestSize = 0xffffffffn;
/** _struct_size, two ints, name. */
const smallestSize = 24n;

/** Of which nbdkit a generation is. */
export function releasesOf(id: GenerationId): string {
  const row = releases.find((it) => it.id === id);
  return row === undefined ? "nbdkit's first proposal of filters" : `nbdkit ${row.releases}`;
}

type Version = readonly [major: number, minor: number, micro: number];

/**
 * The number of `1.32.5`, `1.32.5-1.fc37` or `1.33.11 (extra)`; undefined where it does not begin
 * with three numbers.
 */
function parseVersion(text: string): Version | undefined {
  const match = /^(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?![\d.])/.exec(text);
  return match === null ? undefined : [Number(match[1]), Number(match[2]), Number(match[3])];
}

function compare(a: Version, b: Version): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}

function isAfter(text: string, last: string): boolean {
  const [version, limit] = [parseVersion(text), parseVersion(last)];
  return version !== undefined && limit !== undefined && compare(version, limit) > 0;
}

/** Nothing that modules see changes within a stable series. */
function isOfNewestSeries([major, minor]: Version): boolean {
  const newest = parseVersion(newestKnown);
  return newest !== undefined && major === newest[0] && minor === newest[1] && minor % 2 === 0;
}

/** Which generation filters of this release are of; "newer" than all known ones, or undefined where it is none. */
export function generationOfVersion(text: string): GenerationId | "newer" | undefined {
  const version = parseVersion(text);
  if (version === undefined) return undefined;
  if (isAfter(text, newestKnown) && !isOfNewestSeries(version)) return "newer";
  const row = releases.findLast(({ first }) => {
    const from = parseVersion(first);
    return from !== undefined && compare(from, version) <= 0;
  });
  return row?.id;
}

/** Recognise the struct, with what the user said of it. Throws ConfigError. */
export function recogniseFilter(
  path: string,
  head: FilterHead,
  wanted: GenerationId | undefined,
): Recognised {
  if (head.first >= 2 && head.first <= 6) {
    return { ...newer(path, head, wanted), apiVersion: head.first };
  }
  checkFirst(path, head);
  if (wanted !== undefined) checkWanted(path, 1, wanted);
  return { id: firstForm(path, head, wanted), apiVersion: 1 };
}

/** Whether the struct starts as those of S and A do. */
function checkFirst(path: string, { size, second }: FilterHead): void {
  if (size > largestSize) {
    throw new ConfigError(
      `${path}: filter has an unknown form (it starts with ${size}): it cannot be run`,
    );
  }
  if (second !== 1 && size < smallestSize) {
    throw new ConfigError(
      `${path}: filter is incompatible with this version of nbdkit (_api_version = ${size}, need at most 6)`,
    );
  }
  if (second !== 1) {
    throw new ConfigError(
      `${path}: filter is incompatible with this version of nbdkit (_api_version = ${second}, need 1)`,
    );
  }
  if (size < smallestSize) {
    throw new ConfigError(
      `${path}: filter has _struct_size ${size}, too small to hold its name: expected at least ${smallestSize}`,
    );
  }
}

/** S, A, or that it cannot be told yet: see include/nbdkit-filter.h for the marker. */
function firstForm(
  path: string,
  { third }: FilterHead,
  wanted: GenerationId | undefined,
): "A" | "S" | "either" {
  if (third === filterMarkerS) {
    if (wanted !== "A") return "S";
    throw new ConfigError(
      `${path}: this filter is marked as one of generation S, but --filter-generation says A: leave the option out`,
    );
  }
  if (wanted === "S" || wanted === "A") return wanted;
  return third === 0 ? "either" : "A";
}

function checkWanted(path: string, api: number, wanted: GenerationId): void {
  const possible = generationsOfApi[api] ?? [];
  if (possible.includes(wanted)) return;
  throw new ConfigError(
    `${path}: --filter-generation says ${wanted}, but this filter has _api_version ${api}: expected ${possible.join(", ")}`,
  );
}

type Told = Pick<Recognised, "unknownRelease"> & { readonly id: GenerationId };

function newer(path: string, head: FilterHead, wanted: GenerationId | undefined): Told {
  const api = head.first;
  if (wanted !== undefined) checkWanted(path, api, wanted);
  const possible = generationsOfApi[api] ?? [];
  const [only] = possible;
  if (possible.length === 1 && only !== undefined) return { id: only };
  return api === 2 ? { id: ofApi2(path, head, wanted) } : ofApi6(path, head, wanted);
}

/**
 * The four structs of API 2 begin alike and do not say which they are. A symbol table knows the size; the version
 * is nbdkit's in filters from nbdkit's own tree, but a filter's own elsewhere, so that the user may overrule it.
 */
function ofApi2(path: string, head: FilterHead, wanted: GenerationId | undefined): GenerationId {
  const size = head.symbolSize();
  const bySize = generationsOfApi[2]?.find((id) => generations[id].filter.size === size);
  if (bySize !== undefined) {
    if (wanted === undefined || wanted === bySize) return bySize;
    throw new ConfigError(
      `${path}: the struct of this filter has ${size} bytes, so it is of generation ${bySize}, but --filter-generation says ${wanted}: leave the option out`,
    );
  }
  if (wanted !== undefined) return wanted;
  const version = head.text(24);
  const id =
    version === undefined || isAfter(version, newestOfApi2)
      ? undefined
      : generationOfVersion(version);
  if (id !== undefined && id !== "newer" && generationsOfApi[2]?.includes(id) === true) return id;
  throw new ConfigError(
    `${path}: it cannot be told of which nbdkit (1.3.0 to 1.13.9) this filter is, by its version (${shown(version)}): ` +
      choices(["B", "C", "D", "E"]),
  );
}

function ofApi6(path: string, head: FilterHead, wanted: GenerationId | undefined): Told {
  const version = head.text(8);
  const id = version === undefined ? undefined : generationOfVersion(version);
  const possible = generationsOfApi[6] ?? [];
  if (id !== undefined && id !== "newer" && possible.includes(id)) {
    if (wanted === undefined || wanted === id) return { id };
    throw new ConfigError(
      `${path}: this filter is of nbdkit ${version}, so of generation ${id}, but --filter-generation says ${wanted}: leave the option out`,
    );
  }
  if (wanted !== undefined) return { id: wanted };
  if (id === "newer") return { id: possible.at(-1) ?? "M", unknownRelease: version };
  throw new ConfigError(
    `${path}: it cannot be told of which nbdkit this filter is (_version = ${shown(version)}): ${choices(possible)}`,
  );
}

function shown(text: string | undefined): string {
  return text === undefined ? "NULL" : quoted(text);
}

function choices(ids: readonly GenerationId[]): string {
  const each = ids.map((id) => `${id} (${releasesOf(id)})`).join(", ");
  return `say --filter-generation=FILTER=ID with one of ${each}`;
}

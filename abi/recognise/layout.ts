/** Recognises the layout of a filter's struct. It never guesses: if the file is ambiguous, the user has to choose. */
import { ConfigError, quoted } from "#api";
import { filterMarkerOriginal, newestLayout } from "#api/generated/constants.gen";

import { releases } from "../generated/releases.gen.ts";
import {
  type ChosenLayout,
  isAfter,
  layoutOfVersion,
  layoutsOfApi,
  newestOfApi2,
  type ReleaseId,
  releasesOf,
} from "./releases.ts";

/** The start of a filter's struct. */
export interface FilterHead {
  /** The first 8 bytes, unsigned: _struct_size of the original form and 1.2. */
  readonly size: bigint;
  /** The int at 0: _api_version from 1.4 on. */
  readonly first: number;
  /** The int at 8: _api_version of the original form and 1.2. */
  readonly second: number;
  /** The int at 12: _thread_model of 1.2. */
  readonly third: number;
  /** The string at 8 (`_version`, from 1.15.1 on) or at 24 (`version` of 1.4 to 1.14); undefined for NULL. */
  text(offset: 8 | 24): string | undefined;
  /** The size of the struct in the file's symbol table, if the table has it. */
  symbolSize(): number | undefined;
}

export interface Recognised {
  readonly id: ReleaseId;
  readonly apiVersion: number;
  /** A release newer than all known ones. The struct's fields show whether it still has the newest known layout. */
  readonly unknownRelease?: string | undefined;
}

/** A larger number is not a size, but two ints or a pointer. */
const largestSize = 0xffffffffn;
/** The fields up to the name: _struct_size, two ints and a pointer. */
const smallestSize = 24n;

/** The name of a layout in messages. */
function words(id: ReleaseId): string {
  return id === "original" ? "the original form" : `nbdkit ${id}`;
}

/** Recognise the struct, with what the user said of it. Throws ConfigError. */
export function recogniseFilter(
  path: string,
  head: FilterHead,
  wanted: ChosenLayout | undefined,
): Recognised {
  if (head.first >= 2 && head.first <= 6) {
    return { ...newer(path, head, wanted), apiVersion: head.first };
  }
  checkFirst(path, head);
  if (wanted !== undefined) checkWanted(path, 1, wanted);
  return { id: firstForm(path, head, wanted), apiVersion: 1 };
}

/** Check that the struct starts like those of the original form and 1.2. */
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

/** Our header marks the original form (include/nbdkit-filter.h). A struct without the marker is taken for 1.2's. */
function firstForm(
  path: string,
  { third }: FilterHead,
  wanted: ChosenLayout | undefined,
): "1.2" | "original" {
  const marked = third === filterMarkerOriginal;
  if (marked && wanted?.id === "1.2") {
    throw new ConfigError(
      `${path}: this filter is marked as one of the original form, but ${wanted.option} chooses the layout of nbdkit 1.2: leave the option out`,
    );
  }
  return marked || wanted?.id === "original" ? "original" : "1.2";
}

function checkWanted(path: string, api: number, wanted: ChosenLayout): void {
  const possible = layoutsOfApi[api] ?? [];
  if (possible.includes(wanted.id)) return;
  throw new ConfigError(
    `${path}: ${wanted.option} chooses the layout of ${words(wanted.id)}, but this filter has _api_version ${api}: ` +
      `expected ${possible.join(", ")}`,
  );
}

type Found = Pick<Recognised, "unknownRelease"> & { readonly id: ReleaseId };

function newer(path: string, head: FilterHead, wanted: ChosenLayout | undefined): Found {
  const api = head.first;
  if (wanted !== undefined) checkWanted(path, api, wanted);
  const possible = layoutsOfApi[api] ?? [];
  const [only] = possible;
  if (possible.length === 1 && only !== undefined) return { id: only };
  return api === 2 ? { id: ofApi2(path, head, wanted) } : ofApi6(path, head, wanted);
}

/**
 * The four structs of API 2 begin alike and do not name their layout. A symbol table has the struct's size. `version`
 * is nbdkit's in filters from nbdkit's tree and the filter's own in others, so the user may overrule it.
 */
function ofApi2(path: string, head: FilterHead, wanted: ChosenLayout | undefined): ReleaseId {
  const size = head.symbolSize();
  const bySize = layoutsOfApi[2]?.find((id) => releases[id].filter.size === size);
  if (bySize !== undefined) {
    if (wanted === undefined || wanted.id === bySize) return bySize;
    throw new ConfigError(
      `${path}: the struct of this filter has ${size} bytes, so it has the layout of ${words(bySize)}, but ${wanted.option} chooses that of ${words(wanted.id)}: leave the option out`,
    );
  }
  if (wanted !== undefined) return wanted.id;
  const version = head.text(24);
  const id =
    version === undefined || isAfter(version, newestOfApi2) ? undefined : layoutOfVersion(version);
  if (id !== undefined && id !== "newer" && layoutsOfApi[2]?.includes(id) === true) return id;
  throw new ConfigError(
    `${path}: the file does not show which nbdkit from 1.3.0 to 1.13.9 this filter was built for (version = ${shown(version)}): ` +
      choices(layoutsOfApi[2] ?? []),
  );
}

function ofApi6(path: string, head: FilterHead, wanted: ChosenLayout | undefined): Found {
  const version = head.text(8);
  const id = version === undefined ? undefined : layoutOfVersion(version);
  const possible = layoutsOfApi[6] ?? [];
  if (id !== undefined && id !== "newer" && possible.includes(id)) {
    if (wanted === undefined || wanted.id === id) return { id };
    throw new ConfigError(
      `${path}: this filter was built for nbdkit ${version}, so it has the layout of ${words(id)}, but ${wanted.option} chooses that of ${words(wanted.id)}: leave the option out`,
    );
  }
  if (wanted !== undefined) return { id: wanted.id };
  if (id === "newer") return { id: newestLayout, unknownRelease: version };
  throw new ConfigError(
    `${path}: the file does not show which nbdkit this filter was built for (_version = ${shown(version)}): ${choices(possible)}`,
  );
}

function shown(text: string | undefined): string {
  return text === undefined ? "NULL" : quoted(text);
}

function choices(ids: readonly ReleaseId[]): string {
  const each = ids.map((id) => `${id} (${releasesOf(id)})`).join(", ");
  return `say --filter-release=FILTER=RELEASE with one of ${each}`;
}

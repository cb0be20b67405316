/** The layout of a filter at every boundary between releases, and the filters that are refused. */
import { describe, expect, test } from "bun:test";

import type { StructLayout } from "#abi/generated/layouts.gen";
import { releaseIds as generated, releases } from "#abi/generated/releases.gen";
import { type FilterHead, recogniseFilter } from "#abi/recognise/layout";
import {
  layoutNamed,
  layoutOfOldName,
  layoutOfVersion,
  layoutRows,
  layoutsOfApi,
  oldNames,
  type ReleaseId,
  releaseIds,
  releasesOf,
} from "#abi/recognise/releases";
import { filterMarkerOriginal } from "#api/generated/constants.gen";
import { chosen } from "#test/native";

/** Each layout with the first and last release that have it, and some between. */
const rows: readonly (readonly [ReleaseId, ...string[]])[] = [
  ["1.2", "1.1.27", "1.1.28", "1.2.0", "1.2.8"],
  ["1.4", "1.3.0", "1.4.5", "1.6.6", "1.8.4", "1.9.8"],
  ["1.10", "1.9.9", "1.10.0", "1.10.4", "1.11.9"],
  ["1.12", "1.11.10", "1.12.0", "1.12.8", "1.13.3"],
  ["1.14", "1.13.4", "1.13.9", "1.14.0", "1.14.2"],
  ["1.15.1", "1.15.1"],
  ["1.16", "1.15.2", "1.16.0", "1.16.6"],
  ["1.17.1", "1.17.1", "1.17.11"],
  ["1.18", "1.18.0", "1.18.4", "1.20.0", "1.20.5", "1.21.11"],
  ["1.21.12", "1.21.12", "1.21.19"],
  ["1.21.20", "1.21.20", "1.21.21"],
  ["1.21.22", "1.21.22", "1.21.23"],
  ["1.22", "1.21.24", "1.22.0", "1.22.5", "1.23.5"],
  ["1.24", "1.23.6", "1.24.0", "1.24.6", "1.25.3"],
  ["1.25.4", "1.25.4", "1.25.7"],
  ["1.26", "1.25.8", "1.26.0", "1.28.5", "1.29.15"],
  ["1.30", "1.29.16", "1.30.0", "1.32.5", "1.33.11", "1.34.4", "1.35.8"],
  ["1.36", "1.35.9", "1.36.0", "1.38.7", "1.40.7", "1.42.4", "1.43.8"],
  ["1.44", "1.43.9", "1.44.0", "1.44.99", "1.45.2", "1.46.1", "1.48.0", "1.48.1", "1.48.7"],
];

describe("the layout of a release", () => {
  test.each(rows.flatMap(([id, ...versions]) => versions.map((version) => ({ version, id }))))(
    "$version has layout $id",
    ({ version, id }) => {
      expect(layoutOfVersion(version)).toBe(id);
      expect(layoutOfVersion(`${version}-1.fc37`)).toBe(id);
      expect(layoutOfVersion(`${version} (extra)`)).toBe(id);
    },
  );

  test.each([
    ["1.97.1", "newer"],
    ["1.98.0-1", "newer"],
    ["2.0.0", "newer"],
    ["1.1.26", undefined],
    ["1.0.0", undefined],
    ["0.9.9", undefined],
    ["", undefined],
    ["1.32", undefined],
    ["1.32.5.1", undefined],
    ["v1.32.5", undefined],
    ["filter 1.32.5", undefined],
    ["1.99999999999.1", undefined],
    ["01.32.5", undefined],
  ])("version %p is %p", (version, expected) => {
    expect(layoutOfVersion(version)).toBe(expected as ReturnType<typeof layoutOfVersion>);
  });

  test("every layout has its API number and version where the server looks for them", () => {
    expect(releaseIds).toEqual(generated);
    for (const id of releaseIds) {
      const { fields } = releases[id].filter as StructLayout;
      const api = layoutsOfApi.findIndex((ids) => ids?.includes(id) === true);
      expect({ id, at: fields["_api_version"]?.offset }).toEqual({ id, at: api === 1 ? 8 : 0 });
      if (api === 2) expect(fields["version"]?.offset).toBe(24);
      if (api === 6) expect(fields["_version"]?.offset).toBe(8);
      expect(releases[id].versionString).toBe(api === 6);
    }
    const sizes = layoutsOfApi[2]?.map((id) => releases[id].filter.size);
    expect(sizes).toEqual([208, 216, 232, 256]);
  });

  test("every layout but the original one has a row, in order", () => {
    expect(layoutRows.map(({ id }) => id)).toEqual(releaseIds.slice(1));
    expect(releaseIds.map(releasesOf)).toHaveLength(new Set(releaseIds.map(releasesOf)).size);
  });
});

describe("--filter-release", () => {
  test.each([
    ["original", "original"],
    ["1.2", "1.2"],
    ["1.8", "1.4"],
    ["1.8.4", "1.4"],
    ["1.21.21", "1.21.20"],
    ["1.32", "1.30"],
    ["1.33.11", "1.30"],
    ["1.48", "1.44"],
    ["1.48.9", "1.44"],
    ["1.48.99", "1.44"],
    ["1.1", undefined],
    ["1.19", undefined],
    ["1.21", undefined],
    ["01.32", undefined],
    ["1.032", undefined],
    ["1.32.05", undefined],
    ["1.97.1", undefined],
    ["1.98", undefined],
    ["1", undefined],
    ["1.32.5-1.fc37", undefined],
    ["K", undefined],
    ["", undefined],
  ] as const)("%p chooses layout %p", (text, id) => {
    expect(layoutNamed(text)).toBe(id);
  });

  test("the old letters choose the layouts in order", () => {
    // Newer layouts never had a letter.
    expect(oldNames.map(layoutOfOldName)).toEqual(
      releaseIds.slice(0, releaseIds.indexOf("1.44") + 1),
    );
    expect(["Z", "1.2", "", "toString"].map(layoutOfOldName)).toEqual(
      Array.from({ length: 4 }, () => undefined),
    );
  });
});

interface Head {
  readonly size?: number;
  readonly words?: readonly [first: number, second: number, third: number];
  readonly at8?: string;
  readonly at24?: string;
  readonly symbol?: number;
}

const newest = releaseIds.at(-1) ?? "original";

const head = ({ size, words: [first, second, third] = [0, 0, 0], ...it }: Head): FilterHead => ({
  size: BigInt(size ?? first),
  first,
  second,
  third,
  text: (offset) => (offset === 8 ? it.at8 : it.at24),
  symbolSize: () => it.symbol,
});

const first = (third: number): Head => ({ words: [200, 1, third] });
const api = (number: number, rest: Omit<Head, "words"> = {}): Head => ({
  words: [number, 0, 0],
  ...rest,
});

describe("a filter with", () => {
  test.each<readonly [Head, string]>([
    [first(3), "1.2"],
    [first(1), "1.2"],
    [first(0), "1.2"],
    [first(filterMarkerOriginal), "original"],
    [api(2, { at24: "1.4.2" }), "1.4"],
    [api(2, { at24: "1.10.1" }), "1.10"],
    [api(2, { at24: "1.12.1" }), "1.12"],
    [api(2, { at24: "1.13.5" }), "1.14"],
    [api(2, { symbol: 208 }), "1.4"],
    [api(2, { symbol: 216, at24: "my own 7" }), "1.10"],
    // The size in the symbol table is more reliable than the author's version.
    [api(2, { symbol: 232, at24: "1.4.0" }), "1.12"],
    [api(2, { symbol: 256 }), "1.14"],
    [api(2, { symbol: 4096, at24: "1.8.0" }), "1.4"],
    [api(3), "1.10"],
    [api(4), "1.12"],
    [api(5), "1.14"],
    [api(6, { at8: "1.15.1" }), "1.15.1"],
    [api(6, { at8: "1.32.5" }), "1.30"],
    [api(6, { at8: "1.48.1" }), "1.44"],
    // The struct is checked later.
    [api(6, { at8: "1.98.0" }), newest],
  ])("%o has layout %s", (given, id) => {
    expect(recogniseFilter("x.so", head(given), undefined).id).toBe(id as ReleaseId);
  });

  test.each<readonly [Head, ReleaseId]>([
    [first(0), "original"],
    [first(0), "1.2"],
    [first(3), "1.2"],
    [api(2), "1.4"],
    [api(2, { at24: "1.4.2" }), "1.14"],
    [api(2, { symbol: 216 }), "1.10"],
    [api(3), "1.10"],
    [api(6, { at8: "1.32.5" }), "1.30"],
    [api(6, { at8: "1.98.1" }), newest],
    [api(6), "1.21.20"],
    [api(6, { at8: "unknown" }), "1.15.1"],
  ])("%o has the layout that the user chooses: %s", (given, id) => {
    expect(recogniseFilter("x.so", head(given), chosen(id)).id).toBe(id);
  });
});

describe("a filter is refused with", () => {
  test.each<readonly [Head, ReleaseId | undefined, string]>([
    [
      api(2),
      undefined,
      "from 1.3.0 to 1.13.9 this filter was built for (version = NULL): say --filter-release=",
    ],
    [api(2, { at24: "1.14.0" }), undefined, '(version = "1.14.0")'],
    [api(2, { at24: "1.0" }), undefined, "1.14 (nbdkit 1.13.4 to 1.14)"],
    [api(6), undefined, "which nbdkit this filter was built for (_version = NULL)"],
    [api(6, { at8: "1.14.0" }), undefined, '(_version = "1.14.0")'],
    [{ words: [7, 12345, 0] }, undefined, "(_api_version = 7, need at most 6)"],
    [{ words: [200, 7, 0] }, undefined, "(_api_version = 7, need 1)"],
    [{ words: [1, 1, 0] }, undefined, "_struct_size 1, too small"],
    [{ words: [100, 1, 0], size: 2 ** 40 }, undefined, "unknown form"],
    [first(0), "1.4", "of nbdkit 1.4, but this filter has _api_version 1: expected original, 1.2"],
    [
      api(2),
      "1.30",
      "of nbdkit 1.30, but this filter has _api_version 2: expected 1.4, 1.10, 1.12, 1.14",
    ],
    [api(2, { symbol: 208 }), "1.10", "208 bytes, so it has the layout of nbdkit 1.4, but"],
    [api(4), "1.14", "of nbdkit 1.14, but this filter has _api_version 4: expected 1.12"],
    [
      api(6, { at8: "1.32.5" }),
      "1.44",
      "for nbdkit 1.32.5, so it has the layout of nbdkit 1.30, but",
    ],
    [
      api(6, { at8: "1.32.5" }),
      "1.2",
      "of nbdkit 1.2, but this filter has _api_version 6: expected 1.15.1",
    ],
  ])("%o and --filter-release %p", (given, wanted, words) => {
    expect(() => recogniseFilter("x.so", head(given), chosen(wanted))).toThrow(words);
  });

  test("the name of the option that the user typed", () => {
    const wanted = { id: "1.4", option: "--filter-generation", text: "B" } as const;
    expect(() => recogniseFilter("x.so", head(first(0)), wanted)).toThrow(
      "x.so: --filter-generation chooses the layout of nbdkit 1.4, but",
    );
  });
});

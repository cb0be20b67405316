/** Which generation a filter is of, at every boundary of the releases, and what is refused. */
import { describe, expect, test } from "bun:test";

import { generationIds as generated, generations } from "#abi/generated/generations.gen";
import type { StructLayout } from "#abi/generated/layouts.gen";
import {
  type FilterHead,
  generationOfVersion,
  recogniseFilter,
  releasesOf,
} from "#abi/recognise/generation";
import {
  type GenerationId,
  generationIds,
  generationsOfApi,
  releases,
} from "#abi/recognise/generation-ids";

/** The first and the last release of every row, and a stable release between. */
const rows: readonly (readonly [GenerationId, ...string[]])[] = [
  ["A", "1.1.27", "1.1.28", "1.2.0", "1.2.8"],
  ["B", "1.3.0", "1.4.5", "1.6.6", "1.8.4", "1.9.8"],
  ["C", "1.9.9", "1.10.0", "1.10.4", "1.11.9"],
  ["D", "1.11.10", "1.12.0", "1.12.8", "1.13.3"],
  ["E", "1.13.4", "1.13.9", "1.14.0", "1.14.2"],
  ["F0", "1.15.1"],
  ["F", "1.15.2", "1.16.0", "1.16.6"],
  ["f1", "1.17.1", "1.17.11"],
  ["G", "1.18.0", "1.18.4", "1.20.0", "1.20.5", "1.21.11"],
  ["g1", "1.21.12", "1.21.19"],
  ["g2", "1.21.20", "1.21.21"],
  ["g3", "1.21.22", "1.21.23"],
  ["H", "1.21.24", "1.22.0", "1.22.5", "1.23.5"],
  ["I", "1.23.6", "1.24.0", "1.24.6", "1.25.3"],
  ["i1", "1.25.4", "1.25.7"],
  ["J", "1.25.8", "1.26.0", "1.28.5", "1.29.15"],
  ["K", "1.29.16", "1.30.0", "1.32.5", "1.33.11", "1.34.4", "1.35.8"],
  ["L", "1.35.9", "1.36.0", "1.38.7", "1.40.7", "1.42.4", "1.43.8"],
  ["M", "1.43.9", "1.44.0", "1.44.99", "1.45.2", "1.46.1", "1.48.0", "1.48.1", "1.48.7"],
];

describe("the release says it", () => {
  test.each(rows.flatMap(([id, ...versions]) => versions.map((version) => ({ version, id }))))(
    "$version is $id",
    ({ version, id }) => {
      expect(generationOfVersion(version)).toBe(id);
      expect(generationOfVersion(`${version}-1.fc37`)).toBe(id);
      expect(generationOfVersion(`${version} (extra)`)).toBe(id);
    },
  );

  test.each([
    ["1.49.1", "newer"],
    ["1.50.0-1", "newer"],
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
  ])("%p is %p", (version, expected) => {
    expect(generationOfVersion(version)).toBe(expected as ReturnType<typeof generationOfVersion>);
  });

  test("all generations have a layout, whose head is where it is looked for", () => {
    expect(generationIds).toEqual(generated);
    for (const id of generationIds) {
      const { fields } = generations[id].filter as StructLayout;
      const api = generationsOfApi.findIndex((ids) => ids?.includes(id) === true);
      expect({ id, at: fields["_api_version"]?.offset }).toEqual({ id, at: api === 1 ? 8 : 0 });
      if (api === 2) expect(fields["version"]?.offset).toBe(24);
      if (api === 6) expect(fields["_version"]?.offset).toBe(8);
      expect(generations[id].versionString).toBe(api === 6);
    }
    const sizes = generationsOfApi[2]?.map((id) => generations[id].filter.size);
    expect(sizes).toEqual([208, 216, 232, 256]);
  });

  test("all generations but S have their row, in order", () => {
    expect(releases.map(({ id }) => id)).toEqual(generationIds.slice(1));
    expect(generationIds.map(releasesOf)).toHaveLength(new Set(generationIds.map(releasesOf)).size);
  });
});

interface Head {
  readonly size?: number;
  readonly words?: readonly [first: number, second: number, third: number];
  readonly at8?: string;
  readonly at24?: string;
  readonly symbol?: number;
}

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

describe("recognised", () => {
  test.each<readonly [Head, string]>([
    [first(3), "A"],
    [first(1), "A"],
    [first(0), "either"],
    [api(2, { at24: "1.4.2" }), "B"],
    [api(2, { at24: "1.10.1" }), "C"],
    [api(2, { at24: "1.12.1" }), "D"],
    [api(2, { at24: "1.13.5" }), "E"],
    [api(2, { symbol: 208 }), "B"],
    [api(2, { symbol: 216, at24: "my own 7" }), "C"],
    // The symbol table is the linker's, the version the author's.
    [api(2, { symbol: 232, at24: "1.4.0" }), "D"],
    [api(2, { symbol: 256 }), "E"],
    [api(2, { symbol: 4096, at24: "1.8.0" }), "B"],
    [api(3), "C"],
    [api(4), "D"],
    [api(5), "E"],
    [api(6, { at8: "1.15.1" }), "F0"],
    [api(6, { at8: "1.32.5" }), "K"],
    [api(6, { at8: "1.48.1" }), "M"],
    // Its struct has yet to show that it is the same.
    [api(6, { at8: "1.50.0" }), "M"],
  ])("%o is %s", (given, id) => {
    expect(recogniseFilter("x.so", head(given), undefined).id).toBe(id as GenerationId);
  });

  test.each<readonly [Head, GenerationId]>([
    [first(0), "S"],
    [first(0), "A"],
    [first(3), "A"],
    [api(2), "B"],
    [api(2, { at24: "1.4.2" }), "E"],
    [api(2, { symbol: 216 }), "C"],
    [api(3), "C"],
    [api(6, { at8: "1.32.5" }), "K"],
    [api(6, { at8: "1.50.1" }), "M"],
    [api(6), "g2"],
    [api(6, { at8: "unknown" }), "F0"],
  ])("%o is what the user says: %s", (given, id) => {
    expect(recogniseFilter("x.so", head(given), id).id).toBe(id);
  });
});

describe("refused", () => {
  test.each<readonly [Head, GenerationId | undefined, string]>([
    [api(2), undefined, "1.3.0 to 1.13.9) this filter is, by its version (NULL): say --filter-g"],
    [api(2, { at24: "1.14.0" }), undefined, 'by its version ("1.14.0")'],
    [api(2, { at24: "1.0" }), undefined, "E (nbdkit 1.13.4 to 1.14)"],
    [api(6), undefined, "it cannot be told of which nbdkit this filter is (_version = NULL)"],
    [api(6, { at8: "1.14.0" }), undefined, '(_version = "1.14.0")'],
    [{ words: [7, 12345, 0] }, undefined, "(_api_version = 7, need at most 6)"],
    [{ words: [200, 7, 0] }, undefined, "(_api_version = 7, need 1)"],
    [{ words: [1, 1, 0] }, undefined, "_struct_size 1, too small"],
    [{ words: [100, 1, 0], size: 2 ** 40 }, undefined, "unknown form"],
    [first(0), "B", "says B, but this filter has _api_version 1: expected S, A"],
    [api(2), "K", "says K, but this filter has _api_version 2: expected B, C, D, E"],
    [api(2, { symbol: 208 }), "C", "208 bytes, so it is of generation B, but"],
    [api(4), "E", "says E, but this filter has _api_version 4: expected D"],
    [api(6, { at8: "1.32.5" }), "M", "of nbdkit 1.32.5, so of generation K, but"],
    [api(6, { at8: "1.32.5" }), "A", "says A, but this filter has _api_version 6: expected F0"],
  ])("%o with %p", (given, wanted, words) => {
    expect(() => recogniseFilter("x.so", head(given), wanted)).toThrow(words);
  });
});

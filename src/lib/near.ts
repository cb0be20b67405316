/** Finds the intended name for a misspelt one. */

/** The name nearest to `name`, if it is near enough: `can_flush` and `canFlsuh` mean `canFlush`. */
export function nearName(name: string, names: Iterable<string>): string | undefined {
  const plain = plainName(name);
  let best: string | undefined;
  // A third of the letters may be wrong; in short names one letter.
  let least = Math.min(2, Math.max(1, Math.floor(plain.length / 3)));
  for (const candidate of names) {
    const distance = slips(plain, plainName(candidate), least);
    if (distance > least || (best !== undefined && distance === least)) continue;
    best = candidate;
    least = distance;
  }
  return best;
}

/** `: did you mean X?`, or nothing. */
export function didYouMean(
  name: string,
  names: Iterable<string>,
  show: (name: string) => string = String,
): string {
  const near = nearName(name, names);
  return near === undefined ? "" : `: did you mean ${show(near)}?`;
}

/** Removes differences of case, underscores and dashes. */
function plainName(name: string): string {
  return name.toLowerCase().replaceAll(/[_-]/g, "");
}

/** The number of wrong, missing, extra and transposed letters; above `most` the result is only some larger number. */
function slips(one: string, other: string, most: number): number {
  if (Math.abs(one.length - other.length) > most) return most + 1;
  let before: number[] = [];
  let last = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (let i = 1; i <= one.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const same = one[i - 1] === other[j - 1];
      const of = (cells: readonly number[], at: number): number => cells[at] ?? 0;
      let cell = Math.min(of(last, j) + 1, of(row, j - 1) + 1, of(last, j - 1) + (same ? 0 : 1));
      const swapped = i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1];
      if (swapped) cell = Math.min(cell, of(before, j - 2) + 1);
      row.push(cell);
    }
    [before, last] = [last, row];
  }
  return last[other.length] ?? 0;
}

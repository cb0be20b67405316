/** Bytes for people to read, sixteen to the line, as nbdkit_debug_hexdump(3) shows them. */

const rowBytes = 16;

/** The line of bytes at `done`, starting at column `first`. Bytes that `shown` excludes are blank. */
function row(
  offset: bigint,
  first: number,
  part: Uint8Array,
  shown: (index: number) => boolean = () => true,
): string {
  let digits = "";
  let text = "";
  for (let column = 0; column < rowBytes; column++) {
    const index = column - first;
    const byte = index >= 0 && shown(index) ? part[index] : undefined;
    digits += byte === undefined ? "   " : `${byte.toString(16).padStart(2, "0")} `;
    if (column === rowBytes / 2 - 1) digits += " ";
    if (byte === undefined) text += " ";
    else text += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".";
  }
  return `${offset.toString(16).padStart(8, "0")}: ${digits} |${text}|`;
}

/** The lines; the number of their first byte is `start`. */
export function* hexdump(bytes: Uint8Array, start: bigint): Generator<string> {
  for (const { offset, first, from, to } of rows(bytes.length, start)) {
    yield row(offset, first, bytes.subarray(from, to));
  }
}

/** The lines of the common bytes and the differences of two buffers of the same length. */
export function* hexdiff(one: Uint8Array, two: Uint8Array, start: bigint): Generator<string> {
  for (const { offset, first, from, to } of rows(one.length, start)) {
    const before = one.subarray(from, to);
    const after = two.subarray(from, to);
    const differs = (index: number): boolean => before[index] !== after[index];
    const isSame = before.every((_byte, index) => !differs(index));
    yield `${isSame ? " " : "-"}${row(offset, first, before)}`;
    if (!isSame) yield `+${row(offset, first, after, differs)}`;
  }
}

interface Row {
  readonly offset: bigint;
  readonly first: number;
  readonly from: number;
  readonly to: number;
}

function* rows(length: number, start: bigint): Generator<Row> {
  let first = Number(BigInt.asUintN(64, start) % BigInt(rowBytes));
  let offset = BigInt.asUintN(64, start) - BigInt(first);
  const count = Math.ceil((first + length) / rowBytes);
  for (let i = 0, from = 0; i < count; i++) {
    const to = Math.min(length, from + rowBytes - first);
    yield { offset, first, from, to };
    from = to;
    first = 0;
    offset = BigInt.asUintN(64, offset + BigInt(rowBytes));
  }
}

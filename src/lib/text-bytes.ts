/**
 * Text that the wire or C has as bytes, such as names of exports: mostly UTF-8, but nobody promises that. What is
 * not UTF-8 becomes a lone surrogate each byte (U+DC80 to U+DCFF), so that it comes out as the byte that it was.
 */

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();
/** A byte `b` that is no UTF-8 becomes this and `b`. */
const escaped = 0xdc00;

export function textOf(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    return mixedText(bytes);
  }
}

export function bytesOf(text: string): Uint8Array {
  if (text.isWellFormed()) return encoder.encode(text);
  const parts: Uint8Array[] = [];
  let plainFrom = 0;
  for (let i = 0; i < text.length; i++) {
    const byte = text.charCodeAt(i) - escaped;
    if (byte < 0x80 || byte > 0xff || isLow(text, i)) continue;
    if (i > plainFrom) parts.push(encoder.encode(text.slice(plainFrom, i)));
    parts.push(Uint8Array.of(byte));
    plainFrom = i + 1;
  }
  parts.push(encoder.encode(text.slice(plainFrom)));
  return new Uint8Array(Buffer.concat(parts));
}

/** How many bytes `bytesOf` makes. */
export function byteLengthOf(text: string): number {
  return text.isWellFormed() ? Buffer.byteLength(text) : bytesOf(text).length;
}

/** Whether the unit at `i` is the second half of a character. */
function isLow(text: string, i: number): boolean {
  const before = i === 0 ? 0 : text.charCodeAt(i - 1);
  return before >= 0xd800 && before <= 0xdbff;
}

function mixedText(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const character = characterAt(bytes, at);
    if (character === undefined) {
      text += String.fromCharCode(escaped + (bytes[at] ?? 0));
      at++;
    } else {
      text += character.text;
      at += character.length;
    }
  }
  return text;
}

/** The character whose first byte is at `at`, unless that is no UTF-8. */
function characterAt(
  bytes: Uint8Array,
  at: number,
): { readonly text: string; readonly length: number } | undefined {
  const first = bytes[at] ?? 0;
  const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  try {
    return { text: decoder.decode(bytes.subarray(at, at + length)), length };
  } catch {
    return undefined;
  }
}

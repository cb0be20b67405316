/**
 * Text that is bytes to the wire, C or the system, such as names of exports and files: mostly
 * UTF-8, but that is not guaranteed. Each byte that is not UTF-8 becomes a lone surrogate (U+DC80
 * to U+DCFF), which converts back to the same byte. JavaScript strings can hold, cut and join such
 * text; it must become bytes again when it leaves JavaScript.
 */

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();
/** A byte `b` that is not UTF-8 becomes this plus `b`. */
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
  // A UTF-16 unit takes at most three bytes.
  const bytes = new Uint8Array(3 * text.length);
  let length = 0;
  let plainFrom = 0;
  for (let i = 0; i <= text.length; i++) {
    const byte = text.charCodeAt(i) - escaped;
    const isByte = byte >= 0x80 && byte <= 0xff && !isLow(text, i);
    if (!isByte && i < text.length) continue;
    if (i > plainFrom) {
      length += encoder.encodeInto(text.slice(plainFrom, i), bytes.subarray(length)).written;
    }
    if (isByte) bytes[length++] = byte;
    plainFrom = i + 1;
  }
  return bytes.slice(0, length);
}

/** The number of bytes that `bytesOf` makes. */
export function byteLengthOf(text: string): number {
  return text.isWellFormed() ? Buffer.byteLength(text) : bytesOf(text).length;
}

/** The path for node:fs, which would damage bytes in a string that are not UTF-8. */
export function filePath(path: string): Buffer | string {
  return path.isWellFormed() ? path : Buffer.from(bytesOf(path));
}

/** Whether the unit at `i` is the second half of a character. */
function isLow(text: string, i: number): boolean {
  const before = i === 0 ? 0 : text.charCodeAt(i - 1);
  return before >= 0xd800 && before <= 0xdbff;
}

function mixedText(bytes: Uint8Array): string {
  const parts: string[] = [];
  let from = 0;
  for (let at = 0; at < bytes.length;) {
    const length = characterLength(bytes, at);
    if (length > 0) {
      at += length;
      continue;
    }
    if (at > from) parts.push(decoder.decode(bytes.subarray(from, at)));
    parts.push(String.fromCharCode(escaped + (bytes[at] ?? 0)));
    from = ++at;
  }
  parts.push(decoder.decode(bytes.subarray(from)));
  return parts.join("");
}

/** The length of the character at `at` in bytes; 0 if it is not UTF-8: RFC 3629, section 4. */
function characterLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at] ?? 0;
  const second = bytes[at + 1] ?? 0;
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  // Refuse overlong forms, surrogates and numbers above U+10FFFF.
  if (first === 0xe0 && second < 0xa0) return 0;
  if (first === 0xed && second > 0x9f) return 0;
  if (first === 0xf0 && second < 0x90) return 0;
  if (first === 0xf4 && second > 0x8f) return 0;
  for (let i = 1; i < length; i++) {
    if (((bytes[at + i] ?? 0) & 0xc0) !== 0x80) return 0;
  }
  return length;
}

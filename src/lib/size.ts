/** Reads the values of parameters as nbdkit's parsing functions do: nbdkit-plugin(3), "PARSING SIZE PARAMETERS". */

const suffixes: Readonly<Record<string, bigint>> = {
  "": 1n,
  b: 1n,
  k: 1n << 10n,
  m: 1n << 20n,
  g: 1n << 30n,
  t: 1n << 40n,
  p: 1n << 50n,
  e: 1n << 60n,
  s: 512n,
};
const largest = (1n << 63n) - 1n;

/**
 * A size in bytes, or undefined if `text` is not a size: a decimal, octal (0...) or hexadecimal
 * (0x...) number, then at most one of b k m g t p e s. A _ may precede that letter, which `0x1_b`
 * needs. Same rules as in abi/runtime/parse.c.
 */
export function parseSize(text: string): bigint | undefined {
  const match = /^[ \t\n\v\f\r]*\+?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)(?:_?([a-zA-Z]))?$/.exec(
    text,
  );
  const scale = suffixes[match?.[2]?.toLowerCase() ?? ""];
  if (match?.[1] === undefined || scale === undefined) return undefined;
  const size = numberOf(match[1]) * scale;
  return size <= largest ? size : undefined;
}

/** The shortest text that `parseSize` reads as `size`: 65536 is 64k. */
export function sizeText(size: bigint): string {
  if (size === 0n) return "0";
  for (const letter of ["e", "p", "t", "g", "m", "k"]) {
    const unit = suffixes[letter] ?? 1n;
    if (size % unit === 0n) return `${size / unit}${letter === "k" ? "k" : letter.toUpperCase()}`;
  }
  return String(size);
}

/** A boolean, or undefined if `text` is not one of nbdkit's words. */
export function parseBool(text: string): boolean | undefined {
  if (/^(1|true|t|yes|y|on)$/i.test(text)) return true;
  if (/^(0|false|f|no|n|off)$/i.test(text)) return false;
  return undefined;
}

/** An integer as strtol(3) with base 0 reads it (decimal, 0x, 0), or undefined. */
export function parseInteger(text: string): bigint | undefined {
  const match = /^[ \t\n\v\f\r]*([-+]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$/.exec(text);
  const digits = match?.[2];
  if (digits === undefined) return undefined;
  const value = numberOf(digits);
  return match?.[1] === "-" ? -value : value;
}

/** The digits as C reads them, where a 0 in front means octal. */
function numberOf(digits: string): bigint {
  return BigInt(/^0[0-7]+$/.test(digits) ? `0o${digits.slice(1)}` : digits);
}

const perUnit: Readonly<Record<string, bigint>> = {
  "": 1_000_000_000n,
  s: 1_000_000_000n,
  ms: 1_000_000n,
  us: 1000n,
  μs: 1000n,
  µs: 1000n,
  ns: 1n,
};

/** A time in nanoseconds, or undefined: decimal digits, an optional fraction, then s, ms, us or ns. */
export function parseDelay(text: string): bigint | undefined {
  const match = /^[ \t\n\v\f\r]*\+?([0-9]+)(?:\.([0-9]*))?(s|ms|us|[μµ]s|ns|)$/.exec(text);
  const unit = perUnit[match?.[3] ?? "?"];
  if (match?.[1] === undefined || unit === undefined) return undefined;
  const fraction = (match[2] ?? "").slice(0, 9).padEnd(9, "0");
  const delay = BigInt(match[1]) * unit + (BigInt(fraction) * unit) / 1_000_000_000n;
  return delay <= largest ? delay : undefined;
}

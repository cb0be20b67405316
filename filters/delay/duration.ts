/** Reads times such as 2, 0.5, 10ms or 50us. */
import { param } from "#api";

/** The limit of a 32-bit timer: nearly 25 days. */
export const largestMs = 2 ** 31 - 1;

const nanoseconds: Readonly<Record<string, number>> = {
  "": 1e9,
  s: 1e9,
  ms: 1e6,
  us: 1e3,
  // The sign for micro, and the Greek letter that looks the same.
  "\u00b5s": 1e3,
  "\u03bcs": 1e3,
  ns: 1,
};

/** Milliseconds, rounded up to whole ones; undefined if `text` is not a time, or too long. */
export function parseDuration(text: string): number | undefined {
  const match = /^[ \t\n\v\f\r]*\+?([0-9]+\.?[0-9]*|\.[0-9]+)([a-z\u00b5\u03bc]*)$/.exec(text);
  const unit = nanoseconds[match?.[2] ?? "?"];
  if (match?.[1] === undefined || unit === undefined) return undefined;
  // Whole nanoseconds first, so that 4.035 seconds do not round up to 4036 ms.
  const ms = Math.ceil(Math.round(Number(match[1]) * unit) / 1e6);
  return ms <= largestMs ? ms : undefined;
}

/** A parameter that takes a time, in milliseconds. If two of them set one delay, the later one counts. */
export function duration(help: string, aliases: readonly string[] = []) {
  return param.ordered(
    param.custom(parseDuration, {
      help,
      aliases,
      type: "TIME",
      accepted: `a time of at most ${largestMs}ms, such as 2 (seconds), 0.5, 10ms, 50us or 100ns`,
    }),
  );
}

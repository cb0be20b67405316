/** The settings of injected errors: their parameters, how these combine, and whether a request fails. */
import { existsSync } from "node:fs";

import { filePath, type Given, lastGiven, NbdError, type Param, param } from "#api";

/** The errors that the NBD protocol can report. */
export const injectable = ["EPERM", "EIO", "ENOMEM", "EINVAL", "ENOSPC", "ESHUTDOWN"] as const;
export type Injectable = (typeof injectable)[number];

/** The three parameters that start with `K`, which is `error` or `error-KIND`. */
export type Group<K extends string> = {
  readonly [N in K]: Param<Given<Injectable> | undefined>;
} & {
  readonly [N in `${K}-rate`]: Param<Given<number> | undefined>;
} & {
  readonly [N in `${K}-file`]: Param<Given<string> | undefined>;
};

const rateWords = "a rate from 0 to 1, such as 0.1, 10% or 1:10";

/** A probability from 0 to 1: `0.1`, `10%` or `1:10`; undefined if `text` is not one. */
export function parseRate(text: string): number | undefined {
  const match =
    /^[ \t\n\v\f\r]*\+?((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)(%|:([0-9]+))?$/.exec(
      text,
    );
  if (match === null) return undefined;
  const [, number, unit, whole] = match;
  const scale = unit === undefined ? 1 : unit === "%" ? 100 : Number(whole);
  const rate = Number(number) / scale;
  // 0:0 gives NaN, which is not in the range either.
  return rate >= 0 && rate <= 1 ? rate : undefined;
}

/** Declare the parameters `key`, `key-rate` and `key-file`, for the requests that `what` names. */
export function group<const K extends string>(key: K, what: string): Group<K> {
  const inherits = key === "error" ? "" : "that of all requests, or ";
  const table = {
    [key]: param.ordered(
      param.choice(injectable, { help: `The error of ${what}.`, shownDefault: `${inherits}EIO` }),
    ),
    [`${key}-rate`]: param.ordered(
      param.custom(parseRate, {
        help: `The rate of errors in ${what}.`,
        type: "RATE",
        shownDefault: `${inherits}0`,
        accepted: rateWords,
      }),
    ),
    [`${key}-file`]: param.ordered(
      param.path({ help: `Inject errors into ${what} only while this file exists.` }),
    ),
  };
  // The cast is correct by the three keys above, which the compiler cannot follow through computed names.
  return table as Group<K>;
}

/** The injection for one kind of request. */
export interface Injection {
  readonly errno: Injectable;
  readonly rate: number;
  /** Errors are injected while this file exists; undefined: always. */
  readonly file: string | undefined;
}

/** The values given for one kind of request, or for all. */
export interface Texts {
  readonly errno: Given<Injectable> | undefined;
  readonly rate: Given<number> | undefined;
  readonly file: Given<string> | undefined;
}

/** Combine the values for `all` requests with those for one kind. */
export function injectionOf(all: Texts, kind: Texts): Injection {
  return {
    errno: lastGiven(all.errno, kind.errno) ?? "EIO",
    rate: lastGiven(all.rate, kind.rate) ?? 0,
    file: lastGiven(all.file, kind.file),
  };
}

/** Fail the request `method` with the probability of its rate. `random` returns a number from 0 to below 1. */
export function inject(injection: Injection, method: string, random: () => number): void {
  const { errno, rate, file } = injection;
  if (rate === 0) return;
  // Checked for each request, since tests switch errors on and off by creating and removing the file.
  if (file !== undefined && !existsSync(filePath(file))) return;
  // Always true with a rate of 1, since `random` stays below it.
  if (random() < rate) throw new NbdError(errno, `injecting ${errno} error into ${method}`);
}

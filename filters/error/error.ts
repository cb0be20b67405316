/** Inject errors into requests, to test clients. The manual is README.md, beside this file. */
import { defineFilter, type Values } from "#api";

import { group, inject, type Injection, injectionOf, type Texts } from "./injection.ts";

const params = {
  ...group("error", "all requests"),
  ...group("error-pread", "reads"),
  ...group("error-pwrite", "writes"),
  ...group("error-trim", "trims"),
  ...group("error-zero", "zeroing"),
  ...group("error-extents", "block status requests"),
  ...group("error-cache", "cache requests"),
};

type Config = Values<typeof params>;
type Key =
  | "error"
  | "error-cache"
  | "error-extents"
  | "error-pread"
  | "error-pwrite"
  | "error-trim"
  | "error-zero";

/** The injections for the requests of one connection. */
interface Injections {
  readonly pread: Injection;
  readonly pwrite: Injection;
  readonly trim: Injection;
  readonly zero: Injection;
  readonly extents: Injection;
  readonly cache: Injection;
}

function textsOf(config: Config, key: Key): Texts {
  return { errno: config[key], rate: config[`${key}-rate`], file: config[`${key}-file`] };
}

function injectionsOf(config: Config): Injections {
  const all = textsOf(config, "error");
  const of = (key: Key) => injectionOf(all, textsOf(config, key));
  return {
    pread: of("error-pread"),
    pwrite: of("error-pwrite"),
    trim: of("error-trim"),
    zero: of("error-zero"),
    extents: of("error-extents"),
    cache: of("error-cache"),
  };
}

/** The filter with an injected source of random numbers: from 0 to below 1. */
export function errorFilter(random: () => number) {
  return defineFilter({
    name: "error",
    longName: "nbdkit error injection filter",
    params,
    fillsReads: true,

    async open(next, config, readonly, exportName) {
      await next(readonly, exportName);
      return injectionsOf(config);
    },

    pread(next, { pread }, buf, offset, flags) {
      inject(pread, "pread", random);
      return next.pread(buf, offset, flags);
    },

    pwrite(next, { pwrite }, buf, offset, flags) {
      inject(pwrite, "pwrite", random);
      return next.pwrite(buf, offset, flags);
    },

    trim(next, { trim }, count, offset, flags) {
      inject(trim, "trim", random);
      return next.trim(count, offset, flags);
    },

    zero(next, { zero }, count, offset, flags) {
      inject(zero, "zero", random);
      return next.zero(count, offset, flags);
    },

    extents(next, injections, count, offset, flags, extents) {
      inject(injections.extents, "extents", random);
      return next.extents(count, offset, flags, extents);
    },

    cache(next, { cache }, count, offset, flags) {
      inject(cache, "cache", random);
      return next.cache(count, offset, flags);
    },
  });
}

export default errorFilter(Math.random);

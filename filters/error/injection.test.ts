/** Tests of parsing rates, of combining settings, and of the decision to fail. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdError } from "#api";

import { group, inject, type Injection, injectionOf, parseRate } from "./injection.ts";

describe("parseRate", () => {
  test.each([
    ["0", 0],
    ["0%", 0],
    ["1", 1],
    ["100%", 1],
    ["50%", 0.5],
    ["0.1", 0.1],
    [".5", 0.5],
    ["1.", 1],
    ["0.5%", 0.005],
    ["1e-3", 0.001],
    ["1E2%", 1],
    ["1:10", 0.1],
    ["0:5", 0],
    ["3:3", 1],
    [" 50%", 0.5],
    ["+1", 1],
  ])("reads %j as %d", (text, rate) => {
    expect(parseRate(text)).toBe(rate);
  });

  test.each([
    "",
    "%",
    ":",
    "1:",
    ":2",
    "1:0",
    "0:0",
    "2:1",
    "1.1",
    "101%",
    "100.1%",
    "-0.1",
    "-1%",
    "0.1x",
    "50 %",
    "50%%",
    "50% ",
    "nan",
    "inf",
    "0x1",
    "1,5",
    ".",
    "1e999",
  ])("refuses %j", (text) => {
    expect(parseRate(text)).toBeUndefined();
  });
});

describe("injectionOf", () => {
  const all = group("error", "all");
  const kind = group("error-pread", "reads");
  const none = { errno: undefined, rate: undefined, file: undefined };

  test("defaults to EIO at the rate 0, without a file", () => {
    expect(injectionOf(none, none)).toEqual({ errno: "EIO", rate: 0, file: undefined });
  });

  test("prefers each parameter of one kind to that of all", () => {
    const common = {
      errno: all.error.parse("EPERM", "error", undefined),
      rate: all["error-rate"].parse("50%", "error-rate", undefined),
      file: all["error-file"].parse("/a", "error-file", undefined),
    };
    const errno = kind["error-pread"].parse("ENOSPC", "error-pread", undefined);
    const rate = kind["error-pread-rate"].parse("1", "error-pread-rate", undefined);
    const file = kind["error-pread-file"].parse("/b", "error-pread-file", undefined);
    const expected = { errno: "EPERM", rate: 0.5, file: "/a" } as const;
    expect(injectionOf(common, none)).toEqual(expected);
    expect(injectionOf(common, { ...none, errno })).toEqual({ ...expected, errno: "ENOSPC" });
    expect(injectionOf(common, { ...none, rate })).toEqual({ ...expected, rate: 1 });
    expect(injectionOf(common, { ...none, file })).toEqual({ ...expected, file: "/b" });
    expect(injectionOf(none, { errno, rate, file })).toEqual({
      errno: "ENOSPC",
      rate: 1,
      file: "/b",
    });
  });

  test("prefers a later parameter of all to that of one kind", () => {
    const rate = kind["error-pread-rate"].parse("1", "error-pread-rate", undefined);
    const later = all["error-rate"].parse("0", "error-rate", undefined);
    expect(injectionOf({ ...none, rate: later }, { ...none, rate }).rate).toBe(0);
  });
});

describe("inject", () => {
  const always: Injection = { errno: "ENOSPC", rate: 1, file: undefined };
  const failed = (injection: Injection, random: number): boolean => {
    try {
      inject(injection, "pread", () => random);
      return false;
    } catch (error) {
      expect(error).toBeInstanceOf(NbdError);
      return true;
    }
  };

  test("throws the error with a message that names the error and the request", () => {
    expect(() => inject(always, "pwrite", () => 0.5)).toThrow(
      new NbdError("ENOSPC", "injecting ENOSPC error into pwrite"),
    );
  });

  test.each([
    [0, 0, false],
    [1, 0, true],
    [1, 1 - 2 ** -53, true],
    [0.1, 0.099, true],
    [0.1, 0.1, false],
    [0.1, 0.101, false],
  ])("fails with rate %d and random number %d: %p", (rate, random, fails) => {
    expect(failed({ ...always, rate }, random)).toBe(fails);
  });

  test("draws no random number if it cannot fail", () => {
    const asked = () => {
      throw new Error("was asked");
    };
    inject({ ...always, rate: 0 }, "pread", asked);
    inject({ ...always, file: "/nonexistent/trigger" }, "pread", asked);
  });

  test("fails only while the file exists", () => {
    const folder = mkdtempSync(join(tmpdir(), "error-filter-"));
    try {
      const injection = { ...always, file: join(folder, "trigger") };
      expect(failed(injection, 0)).toBe(false);
      symlinkSync("target", injection.file);
      expect(failed(injection, 0)).toBe(false);
      writeFileSync(join(folder, "target"), "");
      expect(failed(injection, 0)).toBe(true);
      rmSync(injection.file);
      expect(failed(injection, 0)).toBe(false);
      expect(failed({ ...always, file: folder }, 0)).toBe(true);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

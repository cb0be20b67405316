/** The message about a misspelt name on the command line offers the right one. */
import { describe, expect, test } from "bun:test";

import { installed, program, run } from "#test/server";

async function complaint(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run([...program, ...args, "--run", "true"]);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  return stderr;
}

test("--filter-release refuses a TypeScript filter, which has no layout", async () => {
  expect(await complaint("--filter=offset", "--filter-release=offset=1.8", "null")).toBe(
    'nbdkit: error: option --filter-release: "offset" is a filter in TypeScript: expected a filter in C\n',
  );
});

test("--filter-generation warns once that it is deprecated, and its errors name it", async () => {
  const filter = ["--filter=offset", "--filter-generation=offset=B"];
  expect(await complaint(...filter, "--filter-generation=offset=B", "null")).toBe(
    "nbdkit: warning: option --filter-generation is deprecated: use --filter-release\n" +
      'nbdkit: error: option --filter-generation: "offset" is a filter in TypeScript: expected a filter in C\n',
  );
});

describe("a misspelt name", () => {
  test.each([
    [
      ["meory", "1M"],
      /^nbdkit: error: there is no plugin named "meory": .*: did you mean memory\?\n$/,
    ],
    [["offset"], /: offset is a filter: --filter=offset puts it on top of a plugin\n$/],
    [["--filter=ofset", "null"], /no filter named "ofset": .*: did you mean offset\?\n$/],
    [["--filter=memory", "null"], /: memory is a plugin: it goes without --filter\n$/],
    [["--filter=fiel", "null"], /: did you mean the plugin file\?\n$/],
    [["nothing-like-it"], /plugins\/nbdkit-nothing-like-it-plugin\.so\n$/],
    [
      ["--fitler=cow", "null"],
      /^nbdkit: error: unknown option '--fitler': did you mean --filter\? \(try nbdkit --help\)\n$/,
    ],
    [["--xyzzy", "null"], /unknown option '--xyzzy' \(try nbdkit --help\)\n$/],
  ])("is answered with the right one: %p", async (args, message) => {
    expect(await complaint(...args)).toMatch(message);
  });

  test.skipIf(!installed("nbdkit"))(
    "of an installed module is answered with the right one (needs nbdkit)",
    async () => {
      expect(await complaint("--filter=nofiltr", "null")).toMatch(/: did you mean nofilter\?\n$/);
    },
  );
});

describe("an unknown parameter", () => {
  test.each([
    [
      ["--filter=cow", "--filter=offset", "null", "cow-blok-size=1"],
      "null: unknown parameter cow-blok-size=1: expected one of size " +
        "(asked: filter cow, filter offset, plugin null): did you mean cow-block-size=?",
    ],
    [
      ["--filter=delay", "memory", "1M", "read-delay=1"],
      "memory: unknown parameter read-delay=1: expected one of size, allocator (asked: filter delay, plugin memory)",
    ],
    [
      ["memory", "sise=1M"],
      "memory: unknown parameter sise=1M: expected one of size, allocator: did you mean size=?",
    ],
  ])("is refused with the layers that were asked: %p", async (args, message) => {
    expect(await complaint(...args)).toBe(`nbdkit: error: ${message}\n`);
  });

  test.skipIf(!installed("nbdkit"))(
    "of a C module is refused with the module's message and the layers that were asked (needs nbdkit)",
    async () => {
      expect(
        await complaint("--filter=native:cache", "native:memory", "1M", "cach-max-size=1"),
      ).toBe(
        "nbdkit: error: unknown parameter 'cach-max-size'\n" +
          "nbdkit: error: no layer knows the parameter cach-max-size= (asked: filter cache, plugin memory): " +
          "did you mean cache-max-size=?\n",
      );
      // The help of nbdkit's plugin misspells this parameter as fadise, which is not offered.
      expect(await complaint("native:file", "LICENSE", "fadvise=nothing")).toBe(
        "nbdkit: error: unknown fadvise mode: nothing\n",
      );
      expect(await complaint("native:memory", "1M", "nothing-like-it=1")).toBe(
        "nbdkit: error: unknown parameter 'nothing-like-it'\n",
      );
    },
  );
});

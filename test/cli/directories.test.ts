/** Where genuine modules are looked for. */
import { describe, expect, test } from "bun:test";
import { resolve } from "node:path";

import { installed, run } from "#test/server";

import { moduleDirectories } from "../../src/chain/directories.ts";

describe("the directories of genuine modules", () => {
  test("can be set one by one, also relative to the current folder", () => {
    const found = moduleDirectories({});
    expect(moduleDirectories({ NBDKIT_FILTERDIR: "mine" })).toEqual({
      filterdir: resolve("mine"),
      plugindir: found.plugindir,
    });
    expect(moduleDirectories({ NBDKIT_PLUGINDIR: "/mine" })).toEqual({
      filterdir: found.filterdir,
      plugindir: "/mine",
    });
  });

  test("are not set by an empty variable", () => {
    const empty = { NBDKIT_FILTERDIR: "", NBDKIT_PLUGINDIR: "" };
    expect(moduleDirectories(empty)).toEqual(moduleDirectories({}));
  });

  test.skipIf(!installed("nbdkit"))("are those of the installed nbdkit (nbdkit)", async () => {
    const { stdout } = await run(["nbdkit", "--dump-config"]);
    const { filterdir, plugindir } = moduleDirectories({});
    expect(stdout.split("\n")).toContain(`filterdir=${filterdir}`);
    expect(stdout.split("\n")).toContain(`plugindir=${plugindir}`);
  });
});

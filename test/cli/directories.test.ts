/** The folders in which the server looks for nbdkit's modules. */
import { describe, expect, test } from "bun:test";
import { resolve } from "node:path";

import { moduleDirectories } from "#modules/directories";
import { installed, run } from "#test/server";

const from = (variables: Readonly<Record<string, string>>) => (name: string) => variables[name];

describe("the folders of nbdkit's modules", () => {
  test("can be set separately, even relative to the current folder", () => {
    const found = moduleDirectories(from({}));
    expect(moduleDirectories(from({ NBDKIT_FILTERDIR: "mine" }))).toEqual({
      filterdir: resolve("mine"),
      plugindir: found.plugindir,
    });
    expect(moduleDirectories(from({ NBDKIT_PLUGINDIR: "/mine" }))).toEqual({
      filterdir: found.filterdir,
      plugindir: "/mine",
    });
  });

  test("do not change with an empty variable", () => {
    const empty = { NBDKIT_FILTERDIR: "", NBDKIT_PLUGINDIR: "" };
    expect(moduleDirectories(from(empty))).toEqual(moduleDirectories(from({})));
  });

  test.skipIf(!installed("nbdkit"))(
    "are those of the installed nbdkit (needs nbdkit)",
    async () => {
      const { stdout } = await run(["nbdkit", "--dump-config"]);
      const { filterdir, plugindir } = moduleDirectories(from({}));
      expect(stdout.split("\n")).toContain(`filterdir=${filterdir}`);
      expect(stdout.split("\n")).toContain(`plugindir=${plugindir}`);
    },
  );
});

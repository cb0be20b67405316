/** The pages for man(1): that each manual becomes one, and that man, groff and mandoc find nothing wrong with it. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { installed, run } from "#test/server";

import { manuals, pageOf } from "../../scripts/man.ts";

/** All pages as files of the names that man(1) expects. */
async function withPages(use: (files: readonly string[]) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-man-"));
  try {
    const files = manuals().map((manual) => {
      const file = join(folder, `${manual.name}.${manual.section}`);
      writeFileSync(file, pageOf(manual));
      return file;
    });
    await use(files);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("there is a page for the server, one for each kind of module, and one for each module", () => {
  const names = manuals().map(({ name, section }) => `${name}(${section})`);
  expect(names).toEqual(
    expect.arrayContaining([
      "nbdkit(1)",
      "nbdkit-filter(3)",
      "nbdkit-plugin(3)",
      "nbdkit-cow-filter(1)",
      "nbdkit-file-plugin(1)",
    ]),
  );
});

describe("all pages", () => {
  test.skipIf(!installed("mandoc"))("please mandoc (needs mandoc)", async () => {
    await withPages(async (files) => {
      const { stdout } = await run(["mandoc", "-T", "lint", "-W", "warning", ...files]);
      // No date: the same manual makes the same page on every day.
      const complaints = stdout.split("\n").filter((line) => !/missing date|^$/.test(line));
      expect(complaints).toEqual([]);
    });
  });

  test.skipIf(!installed("man"))("are shown by man without a warning (needs man-db)", async () => {
    await withPages(async (files) => {
      const env = { MANWIDTH: "90", LC_ALL: "C.UTF-8", MANPAGER: "cat", GROFF_NO_SGR: "1" };
      for (const file of files) {
        const { code, stdout, stderr } = await run(["man", "--warnings", "-l", file], { env });
        // A terminal has no pages, but tbl(1) looks where they would end.
        const complaints = stderr.replaceAll(
          /^.*table text block will not fit on one page\n/gm,
          "",
        );
        expect({ file, code, complaints }).toEqual({ file, code: 0, complaints: "" });
        expect(stdout).toContain("NAME");
      }
    });
  });
});

test.skipIf(!installed("man"))(
  "what man shows is what the manual says (needs man-db)",
  async () => {
    await withPages(async (files) => {
      const file = files.find((path) => path.endsWith("/nbdkit.1")) ?? "";
      const env = { MANWIDTH: "90", LC_ALL: "C.UTF-8", MANPAGER: "cat" };
      const { stdout } = await run(["sh", "-c", `man -l ${file} | col -bx`], { env });
      expect(stdout).toMatch(/^NAME\n {7}nbdkit - A network block device server/m);
      expect(stdout).toMatch(/^ {3}-p PORT, --port=PORT\n {7}Listen on this TCP port/m);
      expect(stdout).toContain(`           nbdkit memory 64M --run 'nbdcopy disk.img "$uri"'`);
      expect(stdout).toMatch(/^ {3}-V, --version\n {7}Print the version/m);
      expect(stdout).toContain("nbdkit-cow-filter(1)");
    });
  },
);

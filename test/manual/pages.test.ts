/** The pages for man(1): each manual has one, and man, groff and mandoc accept it. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { installed, run } from "#test/server";

import { manuals, pageOf } from "../../scripts/man.ts";

/** Writes all pages to files with the names that man(1) expects. */
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

test("the server, each kind of module and each module have a page", () => {
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

describe("each page", () => {
  test.skipIf(!installed("mandoc"))("passes mandoc's checks (needs mandoc)", async () => {
    await withPages(async (files) => {
      const { stdout } = await run(["mandoc", "-T", "lint", "-W", "warning", ...files]);
      // Pages have no date, so that the same manual always makes the same page.
      const complaints = stdout.split("\n").filter((line) => !/missing date|^$/.test(line));
      expect(complaints).toEqual([]);
    });
  });

  test.skipIf(!installed("man"))("causes no warning of man (needs man-db)", async () => {
    await withPages(async (files) => {
      const env = { MANWIDTH: "90", LC_ALL: "C.UTF-8", MANPAGER: "cat", GROFF_NO_SGR: "1" };
      for (const file of files) {
        const { code, stdout, stderr } = await run(["man", "--warnings", "-l", file], { env });
        // tbl(1) warns about the ends of pages, which a terminal does not have.
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

test.skipIf(!installed("man"))("man shows the content of the manual (needs man-db)", async () => {
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
});

/** Every module of the installed nbdkit has a test file. */
import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { installed, run } from "#test/server";

const haveNbdkit = installed("nbdkit");

test.skipIf(!haveNbdkit).each(["filter", "plugin"])(
  `each genuine %s has a test file${haveNbdkit ? "" : " (needs nbdkit)"}`,
  async (kind) => {
    const { stdout } = await run(["nbdkit", "--dump-config"]);
    const folder = new RegExp(`^${kind}dir=(.*)$`, "m").exec(stdout)?.[1] ?? "";
    const names = readdirSync(folder).flatMap(
      (file) => new RegExp(`^nbdkit-(.+)-${kind}(?:\\.so)?$`).exec(file)?.[1] ?? [],
    );
    expect(names.length).toBeGreaterThan(20);
    const without = names.filter(
      (name) => !existsSync(join(import.meta.dir, `${kind}s`, `${name}.test.ts`)),
    );
    expect(without).toEqual([]);
  },
);

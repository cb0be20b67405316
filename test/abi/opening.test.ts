/** Filters since 1.25.4 get nbdkit's results if open, prepare, finalize or close of the layers below fail. */
import { beforeAll, describe, expect, test } from "bun:test";

import { releaseIds } from "#abi/generated/releases.gen";
import { haveCompiler } from "#test/modules";
import { installed, program } from "#test/server";

import { cases, modules, session } from "./opening-fixture.ts";

describe.skipIf(!haveCompiler)("filters that open contexts (needs cc)", () => {
  beforeAll(async () => void (await modules("1.44")), 60_000);

  test.each(cases)("1.44: $title", async ({ parameters, seen: expected }) => {
    const args = [...(await modules("1.44")), ...parameters];
    expect(await session(program, args)).toEqual({ seen: [...expected], code: 0 });
  });

  const alike = cases.filter(({ in132 }) => in132);
  test.skipIf(!installed("nbdkit")).each(alike)(
    "in nbdkit 1.32: $title (needs nbdkit)",
    async ({ parameters, seen: expected }) => {
      const args = [...(await modules("1.30", "1.32.5")), ...parameters];
      const least = expected.length - 1;
      expect(await session(["nbdkit"], args, least)).toEqual({ seen: [...expected], code: 0 });
    },
  );

  const older = releaseIds.slice(releaseIds.indexOf("1.25.4"), -1);
  const failing = cases.slice(0, 2);
  const pairs = older.flatMap((id) => failing.map((it) => ({ id, ...it })));
  test.each(pairs)("$id: $title", async ({ id, parameters, seen: expected }) => {
    const args = [...(await modules(id)), ...parameters];
    expect(await session(program, args)).toEqual({ seen: [...expected], code: 0 });
  });
});

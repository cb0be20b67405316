/** The transmission flags of an export, by the capabilities of its layers. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";

import { quiet, running } from "./server-fixture.ts";

let logged: ReturnType<typeof quiet>;
beforeEach(() => {
  logged = quiet();
});
afterEach(() => {
  logged[Symbol.dispose]();
});

describe("transmission flags", () => {
  const all = { flush: 4, fua: 8, trim: 32, zero: 64, multi: 256, cache: 1024, fast: 2048 };
  const everything = Object.values(all).reduce((sum, flag) => sum | flag, 1);

  test("follow the top layer's capabilities", async () => {
    await using it = await running();
    expect((await it.ready()).export.eflags).toBe(everything);
  });

  test.each([
    { plugin: { canFlush: () => false }, lacks: all.flush },
    { plugin: { canFua: () => "none" }, lacks: all.fua },
    { plugin: { canTrim: () => false }, lacks: all.trim },
    { plugin: { canFastZero: () => false }, lacks: all.fast },
    { plugin: { canMultiConn: () => false }, lacks: all.multi },
    { plugin: { canCache: () => "none" }, lacks: all.cache },
  ])("lack $lacks where the layer says so", async ({ plugin, lacks }) => {
    await using it = await running({ plugin });
    expect((await it.ready()).export.eflags).toBe(everything & ~lacks);
  });

  test("include rotational", async () => {
    await using it = await running({ plugin: { isRotational: () => true } });
    expect((await it.ready()).export.eflags).toBe(everything | 16);
  });

  test.each([
    { options: { policy: { readonly: true } }, why: "-r" },
    { options: { plugin: { canWrite: () => false } }, why: "the layer" },
  ])("say read-only because of $why, and then nothing that writes", async ({ options }) => {
    await using it = await running(options);
    expect((await it.ready()).export.eflags).toBe(1 | 2 | all.flush | all.multi | all.cache);
  });

  test("omit multi-conn if connections are serialized", async () => {
    await using it = await running({ threadModel: "serialize_connections" });
    expect((await it.ready()).export.eflags).toBe(everything & ~all.multi);
  });

  test("ask the layers in nbdkit's order", async () => {
    using lines = quiet(true);
    await using it = await running();
    await it.ready();
    const asked = lines.lines
      .map((line) => /debug: disk: ((get|can|is)_\w+)$/.exec(line)?.[1])
      .filter((name) => name !== undefined && name !== "get_ready");
    expect(asked).toEqual([
      "get_size",
      "can_write",
      "can_zero",
      "can_fast_zero",
      "can_trim",
      "can_fua",
      "can_flush",
      "is_rotational",
      "can_multi_conn",
      "can_cache",
      "can_extents",
    ]);
  });
});

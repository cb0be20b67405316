/**
 * nbdkit_debug_hexdump, nbdkit_debug_hexdiff, nbdkit_name and nbdkit_timestamp, compared with records of nbdkit
 * 1.48.1, and the same functions in TypeScript.
 */
import { afterAll, afterEach, beforeEach, describe, expect, spyOn, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { debugHexdiff, debugHexdump, NbdError, serverName } from "#api";
import { log } from "#lib/log";
import { compileModule, haveCompiler } from "#test/modules";
import { program, run } from "#test/server";

const recorded = readFileSync(join(import.meta.dir, "hexdump-recorded.txt"), "utf8")
  .trimEnd()
  .split("\n");

describe.skipIf(!haveCompiler)("in a C module (needs cc)", () => {
  const printed = async (...args: string[]): Promise<readonly string[]> => {
    const plugin = await compileModule("test/fixtures/hexdump.c");
    const { code, stderr } = await run([...program, "-U", "-", ...args, plugin, "--run", "true"]);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    return stderr.trimEnd().split("\n");
  };

  test("dumps are those of nbdkit", async () => {
    const lines = await printed("-v");
    const dumps = lines.filter((line) => /^nbdkit: debug: .*\|$/.test(line));
    expect(dumps.map((line) => line.slice("nbdkit: debug: ".length))).toEqual([...recorded]);
  });

  test("nbdkit_name is NULL without --name, nbdkit_timestamp is the time, and dumps need -v", async () => {
    const before = Date.now();
    const [name, time, ...rest] = await printed();
    expect([name, rest]).toEqual(["NAME none", []]);
    expect(time).toMatch(/^TIME \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}$/);
    const printedMs = Date.parse(`${time?.slice("TIME ".length).replace(" ", "T").slice(0, 23)}Z`);
    expect(printedMs).toBeGreaterThanOrEqual(before);
    expect(printedMs).toBeLessThanOrEqual(Date.now());
  });

  test("nbdkit_name is the value of --name", async () => {
    expect(await printed("--name=a disk")).toContain("NAME a disk");
  });
});

describe("in TypeScript", () => {
  const lines: string[] = [];
  const printed = spyOn(log, "moduleDebug");
  beforeEach(() => void printed.mockImplementation((line) => void lines.push(line)));
  afterAll(() => void printed.mockRestore());
  const { verbose, serverName: nameBefore } = log;
  afterEach(() => {
    lines.length = 0;
    log.verbose = verbose;
    log.serverName = nameBefore;
    printed.mockReset();
  });

  const one = Uint8Array.from({ length: 256 }, (_, i) => i * 7);
  const two = Uint8Array.from(one);
  for (let i = 3; i < 256; i += 17) two[i] = (two[i] ?? 0) ^ 0x55;
  two.set(one.subarray(16, 32), 16);

  test("dumps are those of nbdkit", () => {
    log.verbose = true;
    for (const start of [0n, 5n, 16n, 0xfffffff8n, 2n ** 64n - 4n]) {
      for (const [i, length] of [0, 1, 8, 11, 16, 17, 40].entries()) {
        debugHexdump(one.subarray(0, length), i % 2 === 0 ? "" : "dump ", start);
        debugHexdiff(
          one.subarray(0, length),
          two.subarray(0, length),
          i % 2 === 0 ? "diff " : "",
          start,
        );
      }
    }
    // The record has each backslash twice, as the log prints it.
    expect(lines.map((line) => line.replaceAll("\\", "\\\\"))).toEqual([...recorded]);
  });

  test("dumps need -v", () => {
    log.verbose = false;
    debugHexdump(one);
    debugHexdiff(one, two);
    expect(lines).toEqual([]);
  });

  test("debugHexdiff refuses buffers of different lengths", () => {
    expect(() => debugHexdiff(one, two.subarray(1))).toThrow(NbdError);
  });

  test("serverName is the value of --name", () => {
    log.serverName = undefined;
    expect(serverName()).toBeUndefined();
    log.serverName = "a disk";
    expect(serverName()).toBe("a disk");
  });
});

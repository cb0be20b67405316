/** --inspect recognises every module of the newest nbdkit, and finds it runnable if its libraries are installed. */
import { beforeAll, describe, expect, test } from "bun:test";

import { newestDebian } from "#test/newest";
import { program, run } from "#test/server";

const newest = await newestDebian();
const needs = "needs" in newest ? ` ${newest.needs}` : "";

interface Found {
  readonly kind?: string;
  readonly layout?: string;
  readonly version?: string;
  readonly name?: string;
  readonly missing?: readonly string[];
  readonly warning?: string;
  readonly runnable: boolean;
  readonly reason?: string;
}

/** Plugins whose libraries are missing. */
const lacking = ["guestfs", "libvirt"];

describe.skipIf(needs !== "")(`modules of the newest nbdkit${needs}`, () => {
  if ("needs" in newest) {
    test("are inspected", () => {});
    return;
  }
  const { filters, inside, module, plugins, release } = newest;
  // A release later than the known ones only gets a warning.
  const isKnown = release.startsWith("1.48.");

  beforeAll(async () => {
    // The runtime is compiled outside of the namespace, where the compiler is.
    const { code } = await run([...program, "-U", "-", "native:null", "--run", "true"]);
    expect(code).toBe(0);
  }, 60_000);

  const inspected = async (kind: "filter" | "plugin", name: string) => {
    const { code, stdout, stderr } = await run([
      ...[...inside, ...program, "--inspect", "--json", module(kind, name)],
    ]);
    expect(stderr).toBe("");
    return { code, found: JSON.parse(stdout) as Found };
  };

  test.each(filters)("filter %s is recognised", async (name) => {
    const { code, found } = await inspected("filter", name);
    expect({ code, ...found }).toMatchObject({
      ...{ code: 0, kind: "filter", layout: "1.44", version: release, runnable: true },
    });
    expect([found.missing, found.reason]).toEqual([undefined, undefined]);
    if (isKnown) expect(found.warning).toBeUndefined();
    else expect(found.warning).toContain(`this filter is for nbdkit ${release}`);
  });

  test.each(plugins)("plugin %s is recognised", async (name) => {
    const { code, found } = await inspected("plugin", name);
    expect(found.missing).toBeUndefined();
    if (lacking.includes(name)) {
      expect(found.reason).toMatch(/^lib\w+\.so\.\d+: cannot open shared object file/);
      return;
    }
    expect({ code, ...found }).toMatchObject({ code: 0, kind: "plugin", runnable: true });
  });

  test("are at least 53 filters and 37 plugins", () => {
    expect(filters.length).toBeGreaterThanOrEqual(53);
    expect(plugins.length).toBeGreaterThanOrEqual(37);
  });
});

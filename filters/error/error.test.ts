/** Tests of the error filter. They control its random numbers. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";

import { Extents, NbdError, type NextOps } from "#api";
import { above, configured, errnoOf } from "#test/chain";

import error, { errorFilter } from "./error.ts";

const disk = () => new Uint8Array(4096).fill(7);

const kinds = {
  pread: (next: NextOps) => next.pread(new Uint8Array(512), 0n, 0),
  pwrite: (next: NextOps) => next.pwrite(new Uint8Array(512), 0n, 0),
  trim: (next: NextOps) => next.trim(512, 0n, 0),
  zero: (next: NextOps) => next.zero(512, 0n, 0),
  extents: (next: NextOps) => next.extents(512, 0n, 0, new Extents(0n, 4096n)),
  cache: (next: NextOps) => next.cache(512, 0n, 0),
  flush: (next: NextOps) => next.flush(0),
} as const;
const injected = ["pread", "pwrite", "trim", "zero", "extents", "cache"] as const;

/** The kinds of request that fail, and their errors. Failed requests do not reach the disk. */
async function failures(
  texts: Readonly<Record<string, string>>,
  random = 0.5,
): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  await using stack = await above(
    disk(),
    errorFilter(() => random),
    texts,
  );
  for (const [kind, send] of Object.entries(kinds)) {
    stack.calls.length = 0;
    const errno = await errnoOf(() => send(stack.next));
    if (errno !== "no error") found[kind] = errno;
    expect(stack.calls).toHaveLength(errno === "no error" ? 1 : 0);
  }
  return found;
}

/** The same error for all kinds into which the filter injects errors. */
const everywhere = (errno: string) => Object.fromEntries(injected.map((kind) => [kind, errno]));

describe("the error filter", () => {
  test("injects nothing without parameters", async () => {
    expect(await failures({}, 0)).toEqual({});
  });

  test.each(["EPERM", "EIO", "ENOMEM", "EINVAL", "ENOSPC", "ESHUTDOWN"])(
    "injects the error of error=%s",
    async (name) => {
      expect(await failures({ error: name, "error-rate": "1" })).toEqual(everywhere(name));
    },
  );

  test("injects nothing with error=EPERM alone", async () => {
    expect(await failures({ error: "EPERM" }, 0)).toEqual({});
  });

  test.each(["1", "100%", "3:3", "0.51", "51%"])(
    "fails requests with error-rate=%s at the random number 0.5",
    async (rate) => {
      expect(await failures({ "error-rate": rate })).toEqual(everywhere("EIO"));
    },
  );

  test.each(["0", "0%", "50%", "0.49"])(
    "fails no requests with error-rate=%s at the random number 0.5",
    async (rate) => {
      expect(await failures({ "error-rate": rate })).toEqual({});
    },
  );

  test("checks error-file at each request, relative to the folder that it was started in", async () => {
    const folder = mkdtempSync(join(tmpdir(), "error-filter-"));
    try {
      const file = join(folder, "trigger");
      await using stack = await above(disk(), error, {
        "error-rate": "1",
        "error-file": relative(process.cwd(), file),
      });
      for (const send of Object.values(kinds)) {
        expect(await errnoOf(() => send(stack.next))).toBe("no error");
        writeFileSync(file, "");
        const errno = send === kinds.flush ? "no error" : "EIO";
        expect(await errnoOf(() => send(stack.next))).toBe(errno);
        rmSync(file);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe.each(injected)("for %s", (kind) => {
  test(`error-${kind} sets the error`, async () => {
    expect(await failures({ "error-rate": "1", [`error-${kind}`]: "ENOSPC" })).toEqual({
      ...everywhere("EIO"),
      [kind]: "ENOSPC",
    });
  });

  test(`error-${kind}-rate sets the rate`, async () => {
    expect(await failures({ [`error-${kind}-rate`]: "100%" })).toEqual({ [kind]: "EIO" });
    const { [kind]: _, ...others } = everywhere("EIO");
    expect(await failures({ "error-rate": "1", [`error-${kind}-rate`]: "0" })).toEqual(others);
  });

  test(`error-${kind}-file sets the file`, async () => {
    const { [kind]: _, ...others } = everywhere("EIO");
    const file = "/nonexistent/trigger";
    expect(await failures({ "error-rate": "1", [`error-${kind}-file`]: file })).toEqual(others);
    expect(
      await failures({ "error-rate": "1", "error-file": file, [`error-${kind}-file`]: "/" }),
    ).toEqual({ [kind]: "EIO" });
  });

  test("a later parameter for all requests takes precedence", async () => {
    expect(
      await failures({ [`error-${kind}`]: "ENOSPC", error: "EPERM", "error-rate": "1" }),
    ).toEqual(everywhere("EPERM"));
    expect(await failures({ [`error-${kind}-rate`]: "1", "error-rate": "0" })).toEqual({});
  });

  test("the message names the error and the request", async () => {
    await using stack = await above(disk(), error, { error: "ENOMEM", "error-rate": "1" });
    const caught: unknown = await Promise.try(() => kinds[kind](stack.next)).catch(
      (it: unknown) => it,
    );
    expect(caught).toMatchObject({
      errno: "ENOMEM",
      message: `injecting ENOMEM error into ${kind}`,
    });
  });
});

describe("the error filter", () => {
  const keys = ["error", ...injected.map((kind) => `error-${kind}`)];

  test.each(keys)("refuses %s=ENOENT", async (key) => {
    await expect(configured(error, { [key]: "ENOENT" })).rejects.toThrow(
      `error: ${key}=ENOENT: expected one of EPERM, EIO, ENOMEM, EINVAL, ENOSPC, ESHUTDOWN`,
    );
  });

  test.each(keys)("refuses %s-rate=101%%", async (key) => {
    await expect(configured(error, { [`${key}-rate`]: "101%" })).rejects.toThrow(
      `error: ${key}-rate=101%: expected a rate from 0 to 1, such as 0.1, 10% or 1:10`,
    );
  });

  test.each(keys)("refuses %s-file=", async (key) => {
    await expect(configured(error, { [`${key}-file`]: "" })).rejects.toThrow(
      `error: ${key}-file=: expected a path`,
    );
  });

  test("refuses parameters for other kinds of requests", async () => {
    await expect(configured(error, { "error-flush": "EIO" })).rejects.toThrow("error-flush");
  });
});

describe("requests", () => {
  test("fail in the order of the random numbers", async () => {
    const numbers = [0.3, 0.1, 0.2, 0, 0.9];
    let at = 0;
    const filter = errorFilter(() => numbers[at++] ?? 1);
    await using stack = await above(disk(), filter, { "error-rate": "20%" });
    const results: string[] = [];
    for (const _ of numbers) results.push(await errnoOf(() => kinds.pread(stack.next)));
    expect(results).toEqual(["no error", "EIO", "no error", "EIO", "no error"]);
    expect(stack.calls).toHaveLength(3);
  });

  test("do not change the disk if they fail", async () => {
    await using stack = await above(disk(), error, { "error-rate": "1" });
    expect(await errnoOf(() => stack.next.pwrite(new Uint8Array(512), 0n, 0))).toBe("EIO");
    expect(await errnoOf(() => stack.next.zero(512, 0n, 0))).toBe("EIO");
    expect(stack.disk).toEqual(disk());
  });

  test("pass on the error of the layer below unchanged", async () => {
    const below = new NbdError("EROFS", "the disk is write-protected");
    await using stack = await above(
      disk(),
      error,
      { error: "EPERM" },
      {
        fail: () => {
          throw below;
        },
      },
    );
    for (const send of Object.values(kinds)) {
      expect(await Promise.try(() => send(stack.next)).catch((it: unknown) => it)).toBe(below);
    }
  });

  test("stay synchronous if they do not fail", async () => {
    await using stack = await above(
      disk(),
      errorFilter(() => 0.9),
      { "error-rate": "50%" },
    );
    for (const send of Object.values(kinds)) {
      await send(stack.next);
      expect(send(stack.next)).toBeUndefined();
    }
  });
});

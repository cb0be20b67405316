/** Tests of delay-trigger. They count the sleeps, so no test waits. */
import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Extents, FLAG_FAST_ZERO } from "#api";
import { above, errnoOf } from "#test/chain";

import { delayFilter, type Exists } from "./delay.ts";

/** The filter with a trigger file that may exist, and the times that it slept. */
async function triggered(texts: Readonly<Record<string, string>>) {
  const asked: string[] = [];
  const slept: number[] = [];
  const state = { exists: false };
  const exists: Exists = (path) => {
    asked.push(path);
    return Promise.resolve(state.exists);
  };
  const sleep = (ms: number): Promise<void> => {
    slept.push(ms);
    return Promise.resolve();
  };
  const all = { "delay-trigger": "/tmp/trigger", ...texts };
  const filter = delayFilter(sleep, exists);
  const stack = await above(new Uint8Array(4096), filter, all);
  return { stack, next: stack.next, state, asked, slept };
}

test("delay-trigger delays requests only while the file exists", async () => {
  const { next, stack, state, asked, slept } = await triggered({ rdelay: "1", wdelay: "2" });
  const requests = async (): Promise<number[]> => {
    await next.pread(new Uint8Array(512), 0n, 0);
    await next.pwrite(new Uint8Array(512), 0n, 0);
    await next.trim(512, 0n, 0);
    return slept.splice(0);
  };
  expect(await requests()).toEqual([]);
  expect(asked).toEqual(["/tmp/trigger", "/tmp/trigger", "/tmp/trigger"]);
  state.exists = true;
  expect(await requests()).toEqual([1000, 2000, 2000]);
  state.exists = false;
  expect(await requests()).toEqual([]);
  await stack.close();
});

test("delay-trigger is not checked for requests without a delay", async () => {
  const { next, stack, asked } = await triggered({ rdelay: "1" });
  await next.pwrite(new Uint8Array(512), 0n, 0);
  await next.extents(512, 0n, 0, new Extents(0n, 4096n));
  expect(asked).toEqual([]);
  await stack.close();
});

test("delay-trigger also applies to delay-open and delay-close", async () => {
  const { stack, state, asked, slept } = await triggered({ "delay-open": "3", "delay-close": "4" });
  expect({ asked, slept }).toEqual({ asked: ["/tmp/trigger"], slept: [] });
  state.exists = true;
  await stack.close();
  expect(slept).toEqual([4000]);
});

test("delay-fast-zero=false refuses fast zeroes even without the file", async () => {
  const { next, stack } = await triggered({ "delay-zero": "1", "delay-fast-zero": "false" });
  expect(await errnoOf(() => next.zero(512, 0n, FLAG_FAST_ZERO))).toBe("EOPNOTSUPP");
  await stack.close();
});

test("delay-trigger accepts a file of any type, but not a dangling link", async () => {
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-trigger-"));
  try {
    const trigger = join(folder, "on");
    const slept: number[] = [];
    const filter = delayFilter((ms) => Promise.resolve(void slept.push(ms)));
    const texts = { rdelay: "1", "delay-trigger": trigger };
    const stack = await above(new Uint8Array(4096), filter, texts);
    const delayed = async (): Promise<boolean> => {
      await stack.next.pread(new Uint8Array(512), 0n, 0);
      return slept.splice(0).length > 0;
    };
    expect(await delayed()).toBe(false);
    symlinkSync(join(folder, "file"), trigger);
    expect(await delayed()).toBe(false);
    writeFileSync(join(folder, "file"), "");
    expect(await delayed()).toBe(true);
    rmSync(trigger);
    expect(await delayed()).toBe(false);
    mkdirSync(trigger);
    expect(await delayed()).toBe(true);
    await stack.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** Sharing of flushes: a flush that began before the data was written must not answer a caller. */
import { describe, expect, test } from "bun:test";

import { syncer } from "./syncer.ts";

/** An fdatasync that the test ends. */
function controlled() {
  const started: PromiseWithResolvers<void>[] = [];
  const sync = syncer(() => {
    const one = Promise.withResolvers<void>();
    started.push(one);
    return one.promise;
  });
  return { started, sync };
}

const turn = () =>
  new Promise<void>((resolve) => {
    setImmediate(resolve);
  });

describe("shared flushes", () => {
  test("calls during a running flush share the next one", async () => {
    const { started, sync } = controlled();
    const done: string[] = [];
    const all = ["a", "b", "c"].map((name) => sync().then(() => done.push(name)));
    await turn();
    expect(started.length).toBe(1);
    started[0]?.resolve();
    await turn();
    expect({ started: started.length, done: [...done] }).toEqual({ started: 2, done: ["a"] });
    started[1]?.resolve();
    await Promise.all(all);
    expect(done).toEqual(["a", "b", "c"]);
  });

  test("a call during the second flush gets a third", async () => {
    const { started, sync } = controlled();
    const all = [sync(), sync()];
    started[0]?.resolve();
    await turn();
    expect(started.length).toBe(2);
    all.push(sync());
    started[1]?.resolve();
    await turn();
    expect(started.length).toBe(3);
    started[2]?.resolve();
    await Promise.all(all);
  });

  test("a failed flush does not fail calls that wait for the next one", async () => {
    const { started, sync } = controlled();
    const first = sync();
    const second = sync();
    started[0]?.reject(new Error("EIO"));
    await expect(first).rejects.toThrow("EIO");
    await turn();
    started[1]?.resolve();
    await second;
  });

  test("all calls that share a flush get its error", async () => {
    const { started, sync } = controlled();
    const first = sync();
    const shared = [sync(), sync()];
    started[0]?.resolve();
    await first;
    await turn();
    started[1]?.reject(new Error("EIO"));
    const results = await Promise.allSettled(shared);
    expect(results.map((it) => it.status)).toEqual(["rejected", "rejected"]);
  });

  test("starts again after a pause", async () => {
    const { started, sync } = controlled();
    const first = sync();
    started[0]?.resolve();
    await first;
    await turn();
    const second = sync();
    expect(started.length).toBe(2);
    started[1]?.resolve();
    await second;
  });
});

/** Sharing of flushes: a flush that began before the data was written must not answer a caller. */
import { describe, expect, test } from "bun:test";

import { settled } from "#test/chain";

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

describe("a call of the syncer", () => {
  test("during a running flush shares the next one", async () => {
    const { started, sync } = controlled();
    const done: string[] = [];
    const all = ["a", "b", "c"].map((name) => sync().then(() => done.push(name)));
    await settled();
    expect(started.length).toBe(1);
    started[0]?.resolve();
    await settled();
    expect({ started: started.length, done: [...done] }).toEqual({ started: 2, done: ["a"] });
    started[1]?.resolve();
    await Promise.all(all);
    expect(done).toEqual(["a", "b", "c"]);
  });

  test("during the second flush causes a third", async () => {
    const { started, sync } = controlled();
    const all = [sync(), sync()];
    started[0]?.resolve();
    await settled();
    expect(started.length).toBe(2);
    all.push(sync());
    started[1]?.resolve();
    await settled();
    expect(started.length).toBe(3);
    started[2]?.resolve();
    await Promise.all(all);
  });

  test("that waits for the next flush does not fail with the running one", async () => {
    const { started, sync } = controlled();
    const first = sync();
    const second = sync();
    started[0]?.reject(new Error("EIO"));
    await expect(first).rejects.toThrow("EIO");
    await settled();
    started[1]?.resolve();
    await second;
  });

  test("fails with the flush that it shares", async () => {
    const { started, sync } = controlled();
    const first = sync();
    const shared = [sync(), sync()];
    started[0]?.resolve();
    await first;
    await settled();
    started[1]?.reject(new Error("EIO"));
    const results = await Promise.allSettled(shared);
    expect(results.map((it) => it.status)).toEqual(["rejected", "rejected"]);
  });

  test("starts a new flush after a pause", async () => {
    const { started, sync } = controlled();
    const first = sync();
    started[0]?.resolve();
    await first;
    await settled();
    const second = sync();
    expect(started.length).toBe(2);
    started[1]?.resolve();
    await second;
  });
});

/** When memory is collected, with a clock and a memory of the tests' own. */
import { expect, test } from "bun:test";

import { IdleCollection } from "./idle-collection.ts";

const mebibyte = 2 ** 20;

/** `tick` lets a second pass. A collection leaves the memory at `inUse`. */
function fixture() {
  const state = { resident: 50, inUse: 50, collections: 0, timers: 0 };
  let look: (() => void) | undefined;
  const collection = new IdleCollection(
    {
      resident: () => state.resident * mebibyte,
      collect: () => {
        state.collections++;
        state.resident = state.inUse;
      },
    },
    (tick) => {
      look = tick;
      state.timers++;
      return {
        [Symbol.dispose]() {
          look = undefined;
          state.timers--;
        },
      };
    },
  );
  return { state, collection, tick: () => look?.() };
}

test("collects when clients become quiet, then stops its timer", () => {
  const { collection, state, tick } = fixture();
  collection.active();
  state.resident = 1000;
  tick();
  expect(state.collections).toBe(0);
  tick();
  expect(state).toMatchObject({ collections: 1, resident: 50 });
  tick();
  expect(state).toMatchObject({ collections: 1, timers: 0 });
});

test("does nothing if little was allocated", () => {
  const { collection, state, tick } = fixture();
  collection.active();
  state.resident = 57;
  tick();
  tick();
  expect(state).toMatchObject({ collections: 0, timers: 0 });
});

test("adds up the small growths of many bursts", () => {
  const { collection, state, tick } = fixture();
  for (let burst = 1; burst <= 10; burst++) {
    collection.active();
    state.resident += 5;
    for (let i = 0; i < 5; i++) tick();
    expect(state.resident).toBeLessThan(58);
  }
  expect(state.collections).toBe(5);
});

test("collects again if something was missed, but not for ever", () => {
  const { collection, state, tick } = fixture();
  collection.active();
  state.resident = state.inUse = 1000;
  for (let i = 0; i < 10; i++) tick();
  expect(state).toMatchObject({ collections: 3, timers: 0 });
  // The memory that is still in use is not counted as growth again.
  collection.active();
  for (let i = 0; i < 10; i++) tick();
  expect(state.collections).toBe(3);
});

test("collects beside busy clients only after another client left", () => {
  const { collection, state, tick } = fixture();
  collection.active();
  state.resident = 1000;
  const seconds = (count: number) => {
    for (let i = 0; i < count; i++) {
      collection.active();
      tick();
    }
  };
  seconds(20);
  expect(state.collections).toBe(0);
  collection.left();
  seconds(1);
  expect(state.collections).toBe(1);
  state.resident = 1000;
  seconds(20);
  expect(state.collections).toBe(1);
});

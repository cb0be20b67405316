/** Calls that layers have not answered for long are logged. The tests have a clock of their own. */
import { afterAll, beforeEach, expect, test } from "bun:test";

import { defineFilter } from "#api";
import { NbdClient } from "#test/client";
import { until } from "#test/server";

import { Unanswered } from "../../src/chain/unanswered.ts";
import { sendErrorsTo } from "../../src/lib/log.ts";
import { running } from "./server-fixture.ts";

const said: string[] = [];
sendErrorsTo({ systemLog: (line) => void said.push(line) });
beforeEach(() => void said.splice(0));
afterAll(() => sendErrorsTo({ fd: 2 }));

/**
 * Looks for calls that began after it was created, since other tests may have left some. `later` is added to the clock.
 */
function unansweredFromNow() {
  const clock = { later: 1e9 };
  const unanswered = new Unanswered(() => performance.now() + clock.later);
  unanswered.look();
  clock.later = 0;
  said.splice(0);
  return { clock, unanswered };
}

/** A method that waits for `release`. */
function held() {
  const gate = Promise.withResolvers<void>();
  let calls = 0;
  const method = (): Promise<void> => {
    calls++;
    return gate.promise;
  };
  return {
    method,
    release: () => gate.resolve(),
    called: (count: number) => until(() => calls === count),
  };
}

/** Passes reads on, and waits for them. */
const outer = defineFilter({
  name: "outer",
  pread: async (next, _config, buf, offset, flags) => {
    await next.pread(buf, offset, flags);
  },
});

test("a request without an answer for 30 s is logged once, with layer, method, range and client", async () => {
  const { called, method, release } = held();
  await using it = await running({ plugin: { pread: method }, filters: [outer] });
  const { client } = await it.ready();
  const { clock, unanswered } = unansweredFromNow();
  client.request({ type: 0, offset: 4096n, count: 512 });
  await called(1);
  unanswered.look();
  clock.later = 20_000;
  unanswered.look();
  expect(said).toEqual([]);
  clock.later = 30_000;
  unanswered.look();
  clock.later = 60_000;
  unanswered.look();
  expect(said).toEqual([
    "disk[1]: disk: pread of 512 bytes at 4096 has not been answered for 30 s",
  ]);
  release();
  await client.reply();
  unanswered.look();
  expect(said.length).toBe(1);
});

test("up to ten requests are logged each, and more are counted", async () => {
  const { called, method, release } = held();
  await using it = await running({ plugin: { pwrite: method } });
  const { client } = await it.ready();
  const { clock, unanswered } = unansweredFromNow();
  for (let i = 0; i < 13; i++) {
    client.request({ type: 1, offset: BigInt(512 * i), count: 512, payload: new Uint8Array(512) });
  }
  await called(13);
  clock.later = 30_000;
  unanswered.look();
  expect(said.slice(0, 2)).toEqual([
    "disk[1]: disk: pwrite of 512 bytes at 0 has not been answered for 30 s",
    "disk[1]: disk: pwrite of 512 bytes at 512 has not been answered for 30 s",
  ]);
  expect(said.slice(10)).toEqual(["3 more calls of layers have not been answered"]);
  release();
});

test("calls outside requests are logged as well", async () => {
  const { called, method, release } = held();
  await using it = await running({ plugin: { open: method } });
  const { clock, unanswered } = unansweredFromNow();
  const negotiated = NbdClient.ready(it.target);
  await called(1);
  clock.later = 30_000;
  unanswered.look();
  expect(said).toEqual(["disk[1]: disk: open has not been answered for 30 s"]);
  release();
  (await negotiated).client.terminate();
});

/**
 * Measures how long 16 requests take together through a C filter that sleeps 100 ms in each, and how long another
 * client of the same server waits for its answers meanwhile.
 *
 * usage: bun bench/sleepers.ts
 */
import { NbdClient } from "#test/client";
import { compileModule } from "#test/modules";
import { serve } from "#test/server";

const slow = await compileModule("test/fixtures/slow.c", {
  defines: { THREAD_MODEL: "NBDKIT_THREAD_MODEL_PARALLEL" },
});
await using server = await serve([`--filter=${slow}`, "memory", "1M", "sleep-ms=100"]);
const { client: sleeper } = await NbdClient.ready({ unix: server.socket });
const { client: other } = await NbdClient.ready({ unix: server.socket });
for (let round = 1; round <= 3; round++) {
  const start = performance.now();
  for (let i = 0; i < 16; i++)
    sleeper.request({ type: 0, offset: 0n, count: 512, cookie: BigInt(i) });
  let longest = 0;
  let writes = 0;
  const state = { sleeping: true };
  const all = (async () => {
    for (let i = 0; i < 16; i++) {
      await sleeper.reply();
      await sleeper.take(512);
    }
    state.sleeping = false;
    return performance.now() - start;
  })();
  while (state.sleeping) {
    const asked = performance.now();
    await other.ask({ type: 1, offset: 0n, count: 4, payload: new Uint8Array(4) });
    longest = Math.max(longest, performance.now() - asked);
    writes++;
  }
  process.stdout.write(
    `16 reads of 100 ms: ${(await all).toFixed(1)} ms together; ` +
      `${writes} writes of another client meanwhile, the longest ${longest.toFixed(1)} ms\n`,
  );
}
sleeper.terminate();
other.terminate();

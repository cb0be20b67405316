/** A thousand silent clients need little memory and do not disturb others. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";

import { NbdClient } from "#test/client";
import { serve, until } from "#test/server";

const silent = 1000;
const mostKiBEach = 32;

const limit = Number(
  /^Max open files\s+\d+\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1],
);
const missing = limit < 2 * silent ? ` (needs ${2 * silent} descriptors)` : "";

function residentKiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

describe("a thousand silent clients", () => {
  test.skipIf(missing !== "")(
    `take less than ${mostKiBEach} KiB each, and a busy client is served${missing}`,
    async () => {
      await using server = await serve(["memory", "1M"]);
      const { client } = await NbdClient.ready({ unix: server.socket });
      const work = async () => {
        for (let i = 0; i < 100; i++) {
          const { error } = await client.ask({ type: 0, offset: BigInt(4096 * i), count: 4096 });
          expect(error).toBe(0);
        }
      };
      await work();
      const before = residentKiB(server.process.pid);
      const clients: NbdClient[] = [];
      while (clients.length < silent) {
        clients.push(await NbdClient.connect({ unix: server.socket }));
      }
      await until(() => clients.every(({ available }) => available === 18));
      await work();
      const each = (residentKiB(server.process.pid) - before) / silent;
      expect(each).toBeLessThan(mostKiBEach);
      for (const one of clients) one.terminate();
      await work();
      client.terminate();
      expect((await server.stop()).code).toBe(0);
    },
  );
});

/** Servers with few file descriptors make clients wait, and disconnect none. */
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";

import { NbdClient } from "#test/client";
import { program, serve, until } from "#test/server";

/** Our server, started with these options of `ulimit`. */
function limited(ulimit: string): readonly string[] {
  return ["bash", "-c", `ulimit ${ulimit} && exec "$@"`, "bash", ...program];
}

describe("the limit of open files", () => {
  test("is raised as far as the system allows", async () => {
    await using server = await serve(["null"], { program: limited("-Sn 100") });
    const limits = readFileSync(`/proc/${server.process.pid}/limits`, "utf8");
    const [, soft, hard] = /^Max open files\s+(\d+)\s+(\d+)/m.exec(limits) ?? [];
    expect(soft).toBe(hard ?? "");
    expect(Number(soft)).toBeGreaterThan(100);
  });

  test("makes new clients wait until others leave", async () => {
    await using server = await serve(["null", "64K"], { program: limited("-n 64") });
    const { client: working } = await NbdClient.ready({ unix: server.socket });
    const clients: NbdClient[] = [working];
    const connect = async () => clients.push(await NbdClient.connect({ unix: server.socket }));
    for (let i = 0; i < 80; i++) await connect();
    const greeted = () => clients.filter(({ available }) => available === 18).length;
    await server.printed(/clients are connected, and few of the 64 descriptors/);
    const first = greeted();
    expect(first).toBeLessThan(64);
    expect(await working.ask({ type: 0, count: 512 })).toHaveProperty("error", 0);
    // Each client that leaves makes room for one that waits.
    for (const client of clients.splice(1, 60)) {
      await until(() => client.available === 18);
      client.terminate();
    }
    await until(() => greeted() === clients.length - 1);
    expect(clients.every(({ over }) => !over)).toBe(true);
    expect(await working.ask({ type: 0, count: 512 })).toHaveProperty("error", 0);
    for (const client of clients) client.terminate();
    const descriptors = () => readdirSync(`/proc/${server.process.pid}/fd`).length;
    await until(() => descriptors() < 20);
    const { code, stderr } = await server.stop();
    expect(code).toBe(0);
    expect(stderr.match(/few of the 64 descriptors/g)).toHaveLength(1);
  });

  test("does not delay the end of the server", async () => {
    await using server = await serve(["null"], { program: limited("-n 64") });
    const clients = await Promise.all(
      Array.from({ length: 80 }, () => NbdClient.connect({ unix: server.socket })),
    );
    await server.printed(/few of the 64 descriptors/);
    expect((await server.stop()).code).toBe(0);
    await Promise.all(clients.map(({ closed }) => closed));
  });
});

/** Tests of the units: systemd accepts them, and the service serves on the sockets that systemd passes to it. */
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler, runCompiler, temporaryFolder } from "#test/modules";
import { installed, isListening, run, serve, until } from "#test/server";

const launcher = join(import.meta.dirname, "../../bin/nbdkit");
const unit = (name: string) => readFileSync(join(import.meta.dirname, name), "utf8");

/** The numbers, from the C headers, of the system calls in one of systemd's sets. */
async function systemCalls(set: string): Promise<readonly string[]> {
  const header = readFileSync("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "utf8");
  const numbers = new Map(
    [...header.matchAll(/^#define __NR_(\w+)\s+(\d+)$/gm)].map(([, name, number]) => [
      name,
      number,
    ]),
  );
  const { stdout } = await run(["systemd-analyze", "--no-pager", "syscall-filter", set]);
  const names = [...stdout.matchAll(/^ {4}([@\w-]+)$/gm)].map(([, name = ""]) => name);
  const found = await Promise.all(
    names.map(async (name) =>
      name.startsWith("@") ? systemCalls(name) : [numbers.get(name) ?? ""],
    ),
  );
  return found.flat().filter(Boolean);
}

const withAnalyze = test.skipIf(!installed("systemd-analyze"));
const withActivate = test.skipIf(!installed("systemd-socket-activate"));

withAnalyze("systemd finds nothing wrong with the units (needs systemd-analyze)", async () => {
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-units-"));
  try {
    const service = unit("nbdkit.service").replace("/usr/local/bin/nbdkit", launcher);
    writeFileSync(join(folder, "nbdkit.service"), service);
    writeFileSync(join(folder, "nbdkit.socket"), unit("nbdkit.socket"));
    const files = ["nbdkit.service", "nbdkit.socket"].map((name) => join(folder, name));
    expect(await run(["systemd-analyze", "--man=no", "verify", ...files])).toEqual({
      code: 0,
      stdout: "",
      stderr: "",
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.skipIf(!installed("systemd-analyze") || !haveCompiler || process.arch !== "x64")(
  "the service needs only the system calls of its filter (needs systemd-analyze, cc)",
  async () => {
    const set = /^SystemCallFilter=(\S+)$/m.exec(unit("nbdkit.service"))?.[1] ?? "";
    const folder = temporaryFolder();
    const [confined, allowed] = [join(folder, "confined-service"), join(folder, "allowed")];
    await runCompiler(["-O1", "-o", confined, "test/fixtures/confined.c"], "confined");
    const numbers = await systemCalls(set);
    expect(numbers.length).toBeGreaterThan(100);
    writeFileSync(allowed, numbers.join("\n"));
    const disk = join(folder, "service.img");
    writeFileSync(disk, Buffer.alloc(65536, 7));
    const path = await compileModule("examples/xor/xor.c");
    const filters = ["--filter=cow", `--filter=${path}`];
    await using server = await serve([...filters, "file", disk, "xor-key=1"], {
      program: [confined, `only=${allowed}`, "--", launcher],
    });
    await using client = (await NbdClient.ready({ unix: server.socket })).client;
    const payload = new Uint8Array(4096).fill(1);
    expect((await client.ask({ type: 1, offset: 0n, payload })).error).toBe(0);
    expect((await client.ask({ type: 3, count: 0 })).error).toBe(0);
    expect((await client.ask({ type: 0, offset: 0n, count: 4096 })).data).toEqual(payload);
    expect((await server.stop()).code).toBe(0);
  },
);

withActivate(
  "the service serves on the sockets that systemd passes to it (needs systemd)",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "nbdkit-units-"));
    const disk = join(folder, "disk.img");
    writeFileSync(disk, Buffer.alloc(65536, 7));
    const text = /^Environment="NBDKIT_ARGUMENTS=(.*)"$/m.exec(unit("nbdkit.service"))?.[1] ?? "";
    const args = text.split(" ").map((word) => word.replace("/srv/disk.img", disk));
    const sockets = [join(folder, "one"), join(folder, "two")];
    const listen = sockets.flatMap((socket) => ["-l", socket]);
    const child = Bun.spawn(["systemd-socket-activate", ...listen, launcher, ...args], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    try {
      await until(() => child.exitCode !== null || sockets.every(isListening));
      for (const unix of sockets.toReversed()) {
        const { client, export: served } = await NbdClient.ready({ unix });
        await using connection = client;
        expect(served.size).toBe(65536n);
        const { data } = await connection.ask({ type: 0, offset: 512n, count: 4 });
        expect([...data]).toEqual([7, 7, 7, 7]);
        connection.request({ type: 2 });
        await connection.sent();
      }
      child.kill("SIGTERM");
      expect(await child.exited).toBe(0);
      expect(await new Response(child.stderr).text()).not.toContain("error");
    } finally {
      child.kill("SIGKILL");
      await child.exited;
      rmSync(folder, { recursive: true });
    }
  },
);

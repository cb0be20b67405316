/** Tests of the units: that systemd takes them, and that what they start serves on sockets that it is handed. */
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { installed, isListening, run, until } from "#test/server";

const launcher = join(import.meta.dirname, "../../bin/nbdkit");
const unit = (name: string) => readFileSync(join(import.meta.dirname, name), "utf8");

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

withActivate("the service serves sockets that it is handed (needs systemd)", async () => {
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
});

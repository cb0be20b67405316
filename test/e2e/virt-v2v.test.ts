/** The server passes virt-v2v's checks of nbdkit, and accepts the command line that virt-v2v builds. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { installed, program, run, until } from "#test/server";

setDefaultTimeout(60_000);

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-virt-v2v-"));
  mkdirSync(join(folder, "disks"));
  for (const name of ["sda", "sdb"]) {
    const path = join(folder, "disks", name);
    writeFileSync(path, `data of ${name}`);
    truncateSync(path, 1 << 20);
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("virt-v2v", () => {
  test("reads the version from --dump-config, which determines its features", async () => {
    const { code, stdout, stderr } = await run([...program, "--dump-config"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const version = /^version=(.*)$/m.exec(stdout)?.[1] ?? "";
    const [, major, minor, release] = /^(\d+)\.(\d+)\.(\d+)/.exec(version) ?? [];
    // nbdkit 1.44 added a cow filter that keeps exports apart, and 1.46 added --name.
    expect([Number(major), Number(minor)]).toEqual([1, 48]);
    expect(Number(release)).toBeGreaterThanOrEqual(0);
  });

  test.each([
    ["cow", "cow-on-read"],
    ["delay", "delay-trigger"],
    ["partition", "partition-sectorsize"],
  ])("finds in --help that the %s filter has the parameter %s", async (filter, parameter) => {
    const { code, stdout, stderr } = await run([
      ...[...program, "null", `--filter=${filter}`, "--help"],
    ]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout.split("\n").filter((line) => line.startsWith(`${parameter}=`))).toHaveLength(1);
  });
});

/** The command line of virt-v2v for its input disks. */
function commandLine(socket: string, pidFile: string): readonly string[] {
  return [
    ...[...program, "--exit-with-parent", "--foreground"],
    ...["--pidfile", pidFile, "--unix", socket, "--threads", "16"],
    ...["-D", "nbdkit.backend.datapath=0", "--name", "in", "--readonly", "--verbose"],
    ...["--filter", "cow", "file", `dir=${folder}/disks`],
  ];
}

test.skipIf(!installed("nbdinfo"))("virt-v2v can use the server (needs nbdinfo)", async () => {
  const [socket, pidFile] = [join(folder, "in0"), join(folder, "nbdkit1.pid")];
  const child = Bun.spawn([...commandLine(socket, pidFile)], {
    env: { ...process.env, LANG: "C" },
    stdio: ["ignore", "inherit", "pipe"],
  });
  await until(() => child.exitCode !== null || existsSync(pidFile));
  expect(Number(readFileSync(pidFile, "utf8"))).toBe(child.pid);
  const uri = (name: string): string => `nbd+unix:///${name}?socket=${socket}`;
  const list = await run(["nbdinfo", "--list", "--json", uri("")]);
  expect(list.code).toBe(0);
  const { exports } = JSON.parse(list.stdout) as { exports: { "export-name": string }[] };
  expect(exports.map((one) => one["export-name"])).toEqual(["sda", "sdb"]);
  for (const name of ["sda", "sdb"]) {
    const { client, export: facts } = await NbdClient.ready({ unix: socket }, name);
    expect(facts.size).toBe(1n << 20n);
    const { data, error } = await client.ask({ type: 0, offset: 0n, count: 11 });
    expect({ error, data: new TextDecoder().decode(data) }).toEqual({
      error: 0,
      data: `data of ${name}`,
    });
    await client[Symbol.asyncDispose]();
  }
  child.kill("SIGTERM");
  const lines = (await new Response(child.stderr).text()).trimEnd().split("\n");
  expect(await child.exited).toBe(0);
  expect(lines.filter((line) => !line.startsWith("nbdkit[in]: "))).toEqual([]);
  expect(lines.some((line) => line.includes("open readonly=1"))).toBe(true);
  expect(lines.filter((line) => / (pread|extents) /.test(line))).toEqual([]);
});

/** The server in the background: its parent's exit status, and its terminal, folder and descriptors. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { isListening, program, run, until } from "#test/server";
import { shellCommand } from "#test/shell";

import { version } from "../../src/cli/version.ts";
import { Folder, isRunning, servers } from "./daemon-fixture.ts";

// The machine may be busy, and every server here is started twice.
setDefaultTimeout(60_000);

const life = join(import.meta.dir, "life-fixture.ts");
const nothing = { code: 0, stdout: "", stderr: "" };

describe.each(servers)("a daemon (%s)", (_, command) => {
  test("serves once its parent has exited, and the pid file holds its process ID", async () => {
    using folder = new Folder();
    await using server = await folder.daemon(["-U", "sock", "memory", "4k"], command);
    expect(server.ran).toEqual(nothing);
    expect(isListening(folder.file("sock"))).toBeTrue();
    expect(readFileSync(folder.file("pid"), "utf8")).toBe(`${server.pid}\n`);
    expect(statSync(folder.file("pid")).mode & 0o7777).toBe(0o644);
    const { client, export: disk } = await NbdClient.ready({ unix: folder.file("sock") });
    expect(disk.size).toBe(4096n);
    client.terminate();
    await server.end();
  });

  test("has / as its folder and /dev/null as its standard streams", async () => {
    using folder = new Folder();
    await using server = await folder.daemon(["-U", "sock", "memory", "4k"], command);
    const link = (name: string) => readlinkSync(`/proc/${server.pid}/${name}`);
    // nbdkit's child does this, and its parent does not wait for it.
    await until(() => link("cwd") === "/" && link("fd/2") === "/dev/null");
    expect(["fd/0", "fd/1", "fd/2"].map(link)).toEqual(Array(3).fill("/dev/null"));
  });

  test("is named nbdkit in the process list", async () => {
    using folder = new Folder();
    await using server = await folder.daemon(["-U", "sock", "memory", "4k"], command);
    expect(readFileSync(`/proc/${server.pid}/comm`, "utf8")).toBe("nbdkit\n");
  });

  test("reports to its caller that it cannot serve", async () => {
    using folder = new Folder();
    await using server = await folder.daemon(["-U", "/nowhere/sock", "memory", "4k"], command);
    expect(server.ran).toMatchObject({ code: 1, stdout: "" });
    expect(server.ran.stderr).toContain("/nowhere/sock");
    expect(server.pid).toBe(0);
  });

  test("leaves its socket and its pid file behind", async () => {
    using folder = new Folder();
    await using server = await folder.daemon(["-U", "sock", "memory", "4k"], command);
    await server.end();
    expect(readdirSync(folder.path).toSorted()).toEqual(["pid", "sock"]);
  });

  test.each(["SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP"] as const)("ends on %s", async (signal) => {
    using folder = new Folder();
    await using server = await folder.daemon(["-U", "sock", "memory", "4k"], command);
    await server.end(signal);
  });
});

describe("the parent", () => {
  test.each([
    ["config", "config failed as asked"],
    ["getReady", "getReady failed as asked"],
    ["afterFork", "afterFork failed as asked"],
  ])("prints the error of %s and exits with 1", async (where, message) => {
    using folder = new Folder();
    await using server = await folder.daemon(["-U", "sock", life, `fail=${where}`]);
    expect(server.ran).toMatchObject({ code: 1, stdout: "" });
    expect(server.ran.stderr).toEndWith(`nbdkit: error: life: ${message}\n`);
    await until(() => !isListening(folder.file("sock")));
  });

  test("loads no module itself", async () => {
    using folder = new Folder();
    await using server = await folder.daemon(["-U", "sock", life]);
    expect(server.ran).toEqual({
      code: 0,
      stdout: "",
      // Later lines go to /dev/null.
      stderr: "life: load\nlife: getReady\n",
    });
  });

  test("reports a pid file that cannot be written", async () => {
    const result = await run([...program, "-U-", "-P", "/dev/full", "null"]);
    expect(result).toMatchObject({ code: 1, stdout: "" });
    expect(result.stderr).toMatch(
      /^nbdkit: error: cannot write the pid file \/dev\/full: No space left on device\n$/,
    );
  });

  test("reports the signal that killed the server before it served", async () => {
    using folder = new Folder();
    const plugin = folder.file("dying.ts");
    writeFileSync(plugin, 'process.kill(process.pid, "SIGKILL"); export default {};\n');
    const result = await run([...program, "-U", folder.file("sock"), plugin]);
    expect(result).toEqual({
      code: 137,
      stdout: "",
      stderr: "nbdkit: error: the server was ended by signal 9 before it served\n",
    });
  });

  test("ends the server if it is killed before the server is ready", async () => {
    using folder = new Folder();
    const [plugin, started] = [folder.file("slow.ts"), folder.file("started")];
    writeFileSync(
      plugin,
      `require("node:fs").writeFileSync(${JSON.stringify(started)}, String(process.pid));\n` +
        "setInterval(() => {}, 1000); await new Promise(() => {}); export default {};\n",
    );
    const parent = Bun.spawn([...program, "-U", folder.file("sock"), plugin], {
      stdio: ["ignore", "ignore", "ignore"],
    });
    await until(() => existsSync(started) && readFileSync(started, "utf8") !== "");
    const pid = Number(readFileSync(started, "utf8"));
    expect(pid).not.toBe(parent.pid);
    parent.kill("SIGKILL");
    await parent.exited;
    await until(() => !isRunning(pid));
  });

  test("passes inherited descriptors to the server", async () => {
    using folder = new Folder();
    writeFileSync(folder.file("data"), "x");
    const server = shellCommand([...program, "-P", "pid", "-U", "sock", "null"]);
    const shell = ["/bin/sh", "-c", `exec ${server} 7<data`];
    expect(await run(shell, { cwd: folder.path })).toEqual(nothing);
    const pid = Number(readFileSync(folder.file("pid"), "utf8"));
    try {
      expect(readlinkSync(`/proc/${pid}/fd/7`)).toBe(folder.file("data"));
    } finally {
      process.kill(pid, "SIGTERM");
      await until(() => !isRunning(pid));
    }
  });
});

describe("a daemon", () => {
  test("leads a session of its own", async () => {
    using folder = new Folder();
    await using server = await folder.daemon(["-U", "sock", "null"]);
    const { stdout } = await run(["ps", "-o", "sid=", "-p", String(server.pid)]);
    expect(Number(stdout)).toBe(server.pid);
  });

  test("resolves relative paths from the folder that it was started in, even if that is gone", async () => {
    using folder = new Folder();
    writeFileSync(folder.file("disk"), "content".padEnd(512));
    await using server = await folder.daemon(["-U", "sock", "file", "disk"]);
    expect(server.ran).toEqual(nothing);
    const { client } = await NbdClient.ready({ unix: folder.file("sock") });
    rmSync(folder.path, { recursive: true });
    const { data } = await client.ask({ type: 0, count: 7 });
    expect(Buffer.from(data).toString()).toBe("content");
    client.terminate();
    await server.end();
  });

  test("continues to print debug messages with -v, and no others", async () => {
    using folder = new Folder();
    const log = folder.file("log");
    const server = shellCommand([...program, "-v", "-P", "pid", "-U", "sock", life]);
    const shell = ["/bin/sh", "-c", `exec ${server} 2>log`];
    expect(await run(shell, { cwd: folder.path })).toEqual(nothing);
    const pid = Number(readFileSync(folder.file("pid"), "utf8"));
    process.kill(pid, "SIGTERM");
    await until(() => !isRunning(pid));
    const text = readFileSync(log, "utf8");
    expect(text).toMatch(/debug: life: after_fork\n[^]*debug: life: unload/);
    // nbdkit's messages, once each.
    const once = [
      `nbdkit ${version}`,
      `forked into background (new pid = ${pid})`,
      "written pidfile ",
    ];
    for (const line of once) expect(text.split(`nbdkit: debug: ${line}`)).toHaveLength(2);
  });

  test("may start other servers, which are not mistaken for it", async () => {
    using folder = new Folder();
    const plugin = folder.file("starts.ts");
    const command = JSON.stringify([...program, "null", "--run", "echo ran"]);
    writeFileSync(
      plugin,
      'import { definePlugin } from "nbdkit";\n' +
        `const { stdout } = Bun.spawnSync(${command});\n` +
        `require("node:fs").writeFileSync(${JSON.stringify(folder.file("output"))}, stdout);\n` +
        'export default definePlugin({ name: "s", open: () => 1, getSize: () => 0n, pread() {} });\n',
    );
    await using server = await folder.daemon(["-U", "sock", plugin]);
    expect(server.ran).toEqual(nothing);
    expect(readFileSync(folder.file("output"), "utf8")).toBe("ran\n");
  });

  test("runs a plugin whose first line is #!/usr/bin/env nbdkit", async () => {
    using folder = new Folder();
    writeFileSync(folder.file("nbdkit"), `#!/bin/sh\nexec ${shellCommand(program)} "$@"\n`);
    writeFileSync(
      folder.file("disk.ts"),
      '#!/usr/bin/env nbdkit\nimport { definePlugin } from "nbdkit";\n' +
        'export default definePlugin({ name: "disk", open: () => 1, getSize: () => 4096n, pread() {} });\n',
    );
    for (const name of ["nbdkit", "disk.ts"]) chmodSync(folder.file(name), 0o755);
    const ran = await run(["./disk.ts", "-U", "sock", "-P", "pid"], {
      cwd: folder.path,
      env: { PATH: `${folder.path}:${process.env["PATH"]}` },
    });
    expect(ran).toEqual(nothing);
    const pid = Number(readFileSync(folder.file("pid"), "utf8"));
    const { client, export: disk } = await NbdClient.ready({ unix: folder.file("sock") });
    expect(disk.size).toBe(4096n);
    client.terminate();
    process.kill(pid, "SIGTERM");
    await until(() => !isRunning(pid));
  });
});

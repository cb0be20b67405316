/** The server's own process: its user, memory, parent and log, and modules that shut it down. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { installed, program, run, until } from "#test/server";
import { shellCommand } from "#test/shell";

import { Folder, isRunning, servers } from "./daemon-fixture.ts";
import { start } from "./process-fixture.ts";

setDefaultTimeout(60_000);

const life = join(import.meta.dir, "life-fixture.ts");
const plugin = () => compileModule("test/fixtures/shutting-down.c");
const isRoot = process.getuid?.() === 0;
const mayMount = isRoot && installed("unshare") && Bun.spawnSync(["unshare", "-m", "true"]).success;

/** Lines of /proc/PID/status. */
function status(pid: number, ...names: readonly string[]): Record<string, string> {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  return Object.fromEntries(
    names.map((name) => [
      name,
      (new RegExp(`^${name}:\\s*(.*?)\\s*$`, "m").exec(text) ?? [])[1] ?? "",
    ]),
  );
}

describe.skipIf(!isRoot)("-u and -g (needs root)", () => {
  test.each([
    ["names", "nobody", "nogroup"],
    ["numbers", "65534", "65534"],
  ])("accept %s", async (_, user, group) => {
    const show = "cat /proc/$PPID/status";
    const { code, stdout } = await run([
      ...program,
      ...["-U", "-", "-u", user, "-g", group, "null", "--run", show],
    ]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Uid:\s65534\s65534\s65534\s65534$/m);
    expect(stdout).toMatch(/^Gid:\s65534\s65534\s65534\s65534$/m);
    expect(stdout).toMatch(/^Groups:\s65534 ?$/m);
  });

  const groupsOf = (stdout: string) => /^Groups:\s*(.*?) *$/m.exec(stdout)?.[1];

  test.skipIf(!installed("setpriv"))(
    "-u alone sets the groups of the user in place of those that the server was started with (needs setpriv)",
    async () => {
      const many = ["setpriv", "--groups=0,6,44"];
      const show = "cat /proc/$PPID/status";
      for (const user of ["nobody", "65534", "4000000"]) {
        const args = ["-U", "-", "-u", user, "null", "--run", show];
        const { code, stdout, stderr } = await run([...many, ...program, ...args]);
        const groups = groupsOf(stdout);
        // No group lists the user, and only -g would change the first group.
        expect({ code, stderr, groups }).toEqual({ code: 0, stderr: "", groups: "0" });
        expect(stdout).toMatch(/^Gid:\s0\s0\s0\s0$/m);
      }
    },
  );

  test.skipIf(!mayMount)(
    "-u alone sets the groups that list the user (needs unshare)",
    async () => {
      using folder = new Folder();
      const database = folder.file("group");
      writeFileSync(
        database,
        `${readFileSync("/etc/group", "utf8")}members:x:4242:daemon,nobody\n`,
      );
      const script = `mount --bind '${database}' /etc/group && exec "$@"`;
      const others = ["unshare", "-m", "/bin/sh", "-c", script, "sh"];
      for (const user of ["nobody", "65534"]) {
        const args = ["-U", "-", "-u", user, "null", "--run", "cat /proc/$PPID/status"];
        const { code, stdout, stderr } = await run([...others, ...program, ...args]);
        const groups = groupsOf(stdout);
        expect({ code, stderr, groups }).toEqual({ code: 0, stderr: "", groups: "0 4242" });
      }
    },
  );

  test.skipIf(!installed("setpriv"))(
    "-u keeps the groups if the user stays the same (needs setpriv)",
    async () => {
      const many = ["setpriv", "--groups=0,6,44", "--bounding-set=-setgid", "--inh-caps=-setgid"];
      const args = ["-U", "-", "-u", "root", "null", "--run", "cat /proc/$PPID/status"];
      const { code, stdout, stderr } = await run([...many, ...program, ...args]);
      const groups = groupsOf(stdout);
      expect({ code, stderr, groups }).toEqual({ code: 0, stderr: "", groups: "0 6 44" });
    },
  );

  test("take effect before the pid file is written", async () => {
    // Only root may write to the folder.
    using folder = new Folder();
    await using server = await folder.daemon(["-U", "sock", "-u", "nobody", "null"]);
    expect(server.ran).toMatchObject({ code: 1, stdout: "" });
    expect(server.ran.stderr).toContain("cannot write the pid file");
  });

  test("do not affect the command of --run, and the socket's folder is still removed", async () => {
    const args = ["-U", "-", "-u", "nobody", "null", "--run", "id -u; echo ${unixsocket%/*}"];
    const { code, stdout } = await run([...program, ...args]);
    const [uid, folder = ""] = stdout.split("\n");
    expect({ code, uid }).toEqual({ code: 0, uid: "0" });
    expect(() => readFileSync(folder)).toThrow("ENOENT");
  });

  test.each(
    servers.flatMap(([name, command]) =>
      ["-u", "-g"].map((option) => [option, name, command] as const),
    ),
  )("%s refuses an unknown name (%s)", async (option, _name, command) => {
    const args = ["-U", "-", option, "no-such-name", "null", "--run", "true"];
    const result = await run([...command, ...args]);
    expect(result.stderr).toContain("no-such-name");
    // nbdkit exits with the status of the command of --run.
    if (command === program) expect(result).toMatchObject({ code: 1, stdout: "" });
  });
});

describe("--swap", () => {
  test.skipIf(!isRoot)("locks used memory, not reserved memory (needs root)", async () => {
    using folder = new Folder();
    await using server = await folder.daemon(["-U", "sock", "--swap", "null"]);
    const { VmLck = "", VmRSS = "" } = status(server.pid, "VmLck", "VmRSS");
    expect(Number.parseInt(VmLck, 10)).toBeGreaterThan(0);
    expect(Number.parseInt(VmRSS, 10)).toBeLessThan(1 << 20);
  });

  test.skipIf(!isRoot || !installed("setpriv"))(
    "reports why memory cannot be locked (needs root, setpriv)",
    async () => {
      const limited = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"];
      const server = shellCommand([...program, "-U", "-", "--swap", "null", "--run", "true"]);
      const shell = ["/bin/sh", "-c", `ulimit -l 0; exec ${server}`];
      const { code, stderr } = await run([...limited, ...shell]);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^nbdkit: error: option --swap: cannot lock the memory: mlockall/);
    },
  );
});

describe("--exit-with-parent", () => {
  /** Kills the parent of a server that has called `after_fork`, waits for the server's end, and returns its log. */
  async function logOfOrphan(...args: string[]): Promise<string> {
    using folder = new Folder();
    const server = shellCommand([...program, "--exit-with-parent", "-v", "-U", "sock", ...args]);
    const parent = Bun.spawn(["/bin/sh", "-c", `${server} 2>log & echo $! >pid; wait`], {
      cwd: folder.path,
      stdio: ["ignore", "ignore", "ignore"],
    });
    const log = () => readFileSync(folder.file("log"), "utf8");
    await until(() => existsSync(folder.file("log")) && log().includes(": after_fork"));
    const pid = Number(readFileSync(folder.file("pid"), "utf8"));
    expect(isRunning(pid)).toBeTrue();
    parent.kill("SIGKILL");
    await parent.exited;
    await until(() => !isRunning(pid));
    return log();
  }

  test("stops the server in order when its parent is killed", async () => {
    expect(await logOfOrphan(life)).toMatch(/life: cleanup\n[^]*life: unload\n/);
  });

  test.skipIf(!isRoot)("takes effect even with -u (needs root)", async () => {
    expect(await logOfOrphan("-u", "nobody", "null")).toContain("null: unload");
  });
});

describe("--log", () => {
  const failing = [...program, "-U", "-", life, "fail=getReady"];
  const message = "nbdkit: error: life: getReady failed as asked\n";

  test("appends the errors of each start to a file", async () => {
    using folder = new Folder();
    for (const times of [1, 2]) {
      const { code, stderr } = await run([...failing, `--log=${folder.file("log")}`]);
      expect({ code, stderr }).toEqual({ code: 1, stderr: "life: load\n" });
      expect(readFileSync(folder.file("log"), "utf8")).toBe(message.repeat(times));
    }
  });

  test.each(["null", "stderr", "default"])("accepts %s", async (where) => {
    const { code, stderr } = await run([...failing, `--log=${where}`]);
    const expected = where === "null" ? "" : message;
    expect({ code, stderr }).toEqual({ code: 1, stderr: `life: load\n${expected}` });
  });

  test("refuses a file in a folder that does not exist", async () => {
    const { code, stderr } = await run([...program, "-U", "-", "--log=/nowhere/log", "null"]);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^nbdkit: error: option --log: cannot write to \/nowhere\/log: No such file or directory\n$/,
    );
  });

  test.skipIf(!haveCompiler)("writes the errors of C modules to a file (needs cc)", async () => {
    using folder = new Folder();
    const args = ["-U", "sock", `--log=${folder.file("log")}`, await plugin()];
    await using server = await folder.daemon(args);
    expect(server.ran).toEqual({ code: 0, stdout: "", stderr: "" });
    const { client } = await NbdClient.ready({ unix: folder.file("sock") });
    expect(await client.ask({ type: 0, count: 1, offset: 512n })).toMatchObject({ error: 5 });
    client.terminate();
    expect(readFileSync(folder.file("log"), "utf8")).toBe(
      "nbdkit: shutting-down[1]: error: read at 512\n",
    );
    await server.end();
  });
});

/** A stand-in for the system log, in a /dev of its own: starts the server, causes an error, and prints the message. */
const systemLog = `
import os, socket, subprocess, sys
log = socket.socket (socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind ("/dev/log")
log.settimeout (30)
subprocess.run (sys.argv[2:], check = True)
client = socket.socket (socket.AF_UNIX)
client.connect (sys.argv[1])
client.sendall (bytes.fromhex ("00000003") + b"IHAVEOPT" + bytes.fromhex ("0000000100000000"
  + "256095130000000000000000000000010000000000000200" + "00000001"))
print (log.recv (1000).decode ())
`;

describe.skipIf(!haveCompiler || !mayMount || !installed("python3"))(
  "a daemon (needs cc, python3, unshare)",
  () => {
    test.each([
      ...servers.map((row) => [...row, "nbdkit"] as const),
      ["ours with --name", [...program, "--name=left"], "left"] as const,
    ])("logs errors to the system log (%s)", async (_, command, name) => {
      using folder = new Folder();
      mkdirSync(folder.file("dev"));
      const dev = folder.file("dev");
      const prepare =
        `mount --rbind /dev '${dev}' && mount -t tmpfs none /dev && ln -s '${dev}'/* /dev/ && ` +
        'rm -f /dev/log && exec "$@"';
      const server = [
        ...command,
        "-P",
        folder.file("pid"),
        "-U",
        folder.file("sock"),
        await plugin(),
      ];
      const { stdout, stderr } = await run(
        ["unshare", "-m", "/bin/sh", "-c", prepare, "sh", "python3", "-c", systemLog].concat(
          folder.file("sock"),
          server,
        ),
      );
      const pid = Number(readFileSync(folder.file("pid"), "utf8"));
      process.kill(pid, "SIGTERM");
      await until(() => !isRunning(pid));
      expect(stderr).toBe("");
      // Facility "daemon", severity "error". nbdkit names the thread instead of the connection.
      const from = String.raw`shutting-down(\[1\]|\.\d+)`;
      expect(stdout).toMatch(new RegExp(`^<27>.* ${name}\\[${pid}\\]: ${from}: read at 512\n$`));
    });
  },
);

describe.skipIf(!haveCompiler)("a C module (needs cc)", () => {
  test("shuts the server down in order, and a signal during that does not end it at once", async () => {
    using folder = new Folder();
    await using server = start("-U", folder.file("sock"), "-v", await plugin());
    await server.printed(/shutting-down: after_fork\n/);
    const { client } = await NbdClient.ready({ unix: folder.file("sock") });
    await client.ask({ type: 0, count: 1 });
    server.process.kill("SIGTERM");
    const { code, stderr } = await server.ended();
    expect(code).toBe(0);
    expect(stderr).toContain("a module has shut the server down");
    expect(stderr).toMatch(/shutting-down: cleanup\n[^]*shutting-down: unload/);
    client.terminate();
  });

  test("cannot use stdin and stdout while the server runs", async () => {
    using folder = new Folder();
    await using server = start("-U", folder.file("sock"), "-v", await plugin());
    await server.printed(/debug: stdio is taken\n/);
  });
});

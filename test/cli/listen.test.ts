/** Several addresses at once, address families, ports in use, socket activation, and the one client of -s. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { installed, program, run } from "#test/server";
import { shellCommand } from "#test/shell";

import { Folder, servers } from "./daemon-fixture.ts";
import { start } from "./process-fixture.ts";
import { readAndLeave } from "./session-fixture.ts";

setDefaultTimeout(60_000);

const life = join(import.meta.dir, "life-fixture.ts");

/** Starts a server with `args`, and passes on the port that it chose. */
async function withPort(
  args: readonly string[],
  see: (port: number, process: Bun.Subprocess) => Promise<void>,
): Promise<void> {
  await using server = start("-v", ...args, life);
  const [, port = ""] = await server.printed(
    /bound to IP address \S+:([0-9]+) [^]*life: afterFork/,
  );
  await see(Number(port), server.process);
  server.process.kill("SIGTERM");
  expect(await server.ended()).toMatchObject({ code: 0, stdout: "" });
}

async function size(target: Parameters<typeof NbdClient.ready>[0]): Promise<bigint> {
  const { client, export: disk } = await NbdClient.ready(target);
  client.terminate();
  return disk.size;
}

const refusedBy = (target: Parameters<typeof NbdClient.ready>[0]) =>
  NbdClient.connect(target).then(
    (client) => {
      client.terminate();
      return false;
    },
    () => true,
  );

describe("several addresses", () => {
  test("are listened on at once, and --print-uri prints them all", async () => {
    using folder = new Folder();
    const unix = folder.file("sock");
    const places = ["-p0", "-i127.0.0.1", "--listen", `nbd+unix:///?socket=${unix}`];
    const args = [...places, "--listen=nbd://[::1]:0", "--print-uri"];
    await using server = await folder.daemon([...args, "memory", "4k"]);
    const uris = server.ran.stdout.split("\n").filter((_, line) => line % 4 === 0);
    const ports = uris.map((uri) => Number(/:([0-9]+)$/.exec(uri)?.[1] ?? 0));
    expect(uris.join(" ")).toContain(`nbd+unix://?socket=${unix}`);
    const targets = [
      { unix },
      ...ports
        .filter((port) => port > 0)
        .map((port, index) => ({
          port,
          address: index === 0 ? "127.0.0.1" : "::1",
        })),
    ];
    expect(targets).toHaveLength(3);
    for (const target of targets) expect(await size(target)).toBe(4096n);
    await server.end();
  });

  test("are all closed if the server cannot listen on one", async () => {
    using folder = new Folder();
    const args = ["-p0", "-i127.0.0.1", "--listen=nbd+unix:///?socket=/nowhere/s"];
    await using server = await folder.daemon([...args, "null"]);
    expect(server.ran).toEqual({
      code: 1,
      stdout: "",
      stderr:
        "nbdkit: error: /nowhere/s: cannot listen on this address: No such file or directory (ENOENT): expected a path in a directory that exists\n",
    });
  });
});

describe("a server on TCP", () => {
  test("listens on all addresses of both families, on one port", () =>
    withPort(["-p0"], async (port) => {
      for (const address of ["127.0.0.1", "::1"]) {
        expect(await size({ port, address })).toBe(1048576n);
      }
    }));

  test.each([
    ["-4", "127.0.0.1", "::1"],
    ["-6", "::1", "127.0.0.1"],
  ])("listens on one family with %s", (option, yes, no) =>
    withPort(["-p0", option], async (port) => {
      expect(await size({ port, address: yes })).toBe(1048576n);
      expect(await refusedBy({ port, address: no })).toBeTrue();
    }),
  );

  test("sets SO_KEEPALIVE for clients with --keepalive", () =>
    withPort(["-p0", "-i127.0.0.1", "--keepalive"], async (port, server) => {
      await using client = await NbdClient.connect({ port });
      await client.hello();
      // ss shows the keepalive timer.
      const { stdout } = await run(["ss", "-tnoHp", "sport", "=", `:${port}`]);
      const ours = stdout.split("\n").filter((line) => line.includes(`pid=${server.pid},`));
      expect(ours.join("\n")).toMatch(installed("ss") ? /timer:\(keepalive/ : /^$/);
    }));

  test("refuses an address of the wrong family", async () => {
    const result = await run([...program, "-6", "-i", "127.0.0.1", "-p0", "null"]);
    expect(result).toMatchObject({ code: 1, stdout: "" });
    expect(result.stderr).toMatch(/^nbdkit: error: 127\.0\.0\.1 as an address of IPv6: cannot/);
  });

  test.each(servers)("skips an address whose port is in use (%s)", async (_, command) => {
    const other = createServer();
    await new Promise<void>((done) => other.listen(0, "127.0.0.1", done));
    const address = other.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    try {
      using folder = new Folder();
      await using server = await folder.daemon(["-p", String(port), "memory", "4k"], command);
      expect(server.ran).toEqual({ code: 0, stdout: "", stderr: "" });
      expect(await size({ port, address: "::1" })).toBe(4096n);
      using second = new Folder();
      await using refused = await second.daemon(["-p", String(port), "memory", "4k"], command);
      expect(refused.ran).toMatchObject({ code: 1, stdout: "" });
    } finally {
      other.close();
    }
  });
});

test("two servers cannot listen on the same port of vsock", async () => {
  const number = String(0x4000_0000 + process.pid);
  using folder = new Folder();
  await using server = await folder.daemon(["--vsock", "-p", number, "--print-uri", "null"]);
  if (server.ran.code !== 0) {
    // As in most containers.
    expect(server.ran.stderr).toContain("this kernel has no AF_VSOCK");
    return;
  }
  expect(server.ran.stdout.split("\n")[0]).toBe(`nbd+vsock://1:${number}`);
  const again = await run([...program, "--vsock", "-p", number, "null"]);
  expect(again).toMatchObject({ code: 1, stdout: "" });
  expect(again.stderr).toContain(
    `vsock port ${number}: cannot listen on this address: Address already in use (EADDRINUSE)`,
  );
  await server.end();
});

test.each(servers)("--selinux-label without SELinux is refused (%s)", async (_, command) => {
  const args = ["--selinux-label=system_u:object_r:nbd_t:s0", "-U", "-", "null", "--run", "true"];
  const { code, stdout, stderr } = await run([...command, ...args]);
  // With SELinux the label may be valid.
  if (code === 0) return;
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr.toLowerCase()).toContain("selinux");
});

/** Starts a server as systemd does, with a listening socket as descriptor 3. */
const launcher = `
import os, socket, sys
s = socket.socket (socket.AF_UNIX)
s.bind (sys.argv[1])
s.listen ()
os.dup2 (s.fileno (), 3)
os.set_inheritable (3, True)
os.environ["LISTEN_PID"] = str (os.getpid () + int (sys.argv[2]))
os.environ["LISTEN_FDS"] = sys.argv[3]
os.execvp (sys.argv[4], sys.argv[4:])
`;

describe.skipIf(!installed("python3"))("socket activation (needs python3)", () => {
  const launch = (folder: Folder, offset: number, count: string, ...words: string[]) => [
    "python3",
    "-c",
    launcher,
    folder.file("sock"),
    String(offset),
    count,
    ...words,
  ];

  test.each(servers)("serves on the given socket, in the foreground (%s)", async (_, command) => {
    using folder = new Folder();
    const child = Bun.spawn(launch(folder, 0, "1", ...command, "memory", "4k"), {
      stdio: ["ignore", "ignore", "ignore"],
    });
    try {
      let found: bigint | undefined;
      while (found === undefined && child.exitCode === null) {
        found = await size({ unix: folder.file("sock") }).catch(() => undefined);
      }
      expect(found).toBe(4096n);
    } finally {
      child.kill("SIGTERM");
    }
    expect(await child.exited).toBe(0);
  });

  test("warns that an abstract socket has no URI to print", async () => {
    using folder = new Folder();
    const abstract = launcher.replace("sys.argv[1]", 'b"\\0" + sys.argv[1].encode ()');
    const [, , , ...words] = launch(folder, 0, "1", ...program, "--print-uri", "null");
    const child = Bun.spawn(["python3", "-c", abstract, ...words], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const path = `\0${folder.file("sock")}`;
    let found: bigint | undefined;
    while (found === undefined && child.exitCode === null) {
      found = await size({ unix: path }).catch(() => undefined);
    }
    child.kill("SIGTERM");
    expect({ found, code: await child.exited }).toEqual({ found: 0n, code: 0 });
    expect(await new Response(child.stdout).text()).toBe("");
    expect(await new Response(child.stderr).text()).toBe(
      `nbdkit: warning: option --print-uri: there is no URI for the socket "\\x00${path.slice(1)}"\n`,
    );
  });

  test.each(
    servers.flatMap(([name, command]) =>
      [["-U", "-"], ["-p", "1"], ["-i", "127.0.0.1"], ["-s"], ["--run", "true"]].map(
        (option) => [option, name, command] as const,
      ),
    ),
  )("refuses %j (%s)", async (option, _name, command) => {
    using folder = new Folder();
    const result = await run(launch(folder, 0, "1", ...command, ...option, "null"));
    expect(result).toMatchObject({ code: 1, stdout: "" });
    expect(result.stderr).toContain("socket activation");
  });

  test.each([
    ["web", " (web)"],
    ["a b:c", " (a b)"],
    [":c", ""],
    ["unknown", ""],
    [undefined, ""],
  ])("logs LISTEN_FDNAMES=%s with -v", async (names, shown) => {
    using folder = new Folder();
    const env = { ...process.env, ...(names === undefined ? {} : { LISTEN_FDNAMES: names }) };
    const words = [...program, "-v", "null", "4k"];
    const child = Bun.spawn(launch(folder, 0, "1", ...words), {
      stdio: ["ignore", "ignore", "pipe"],
      env,
    });
    while (child.exitCode === null) {
      const found = await size({ unix: folder.file("sock") }).catch(() => undefined);
      if (found !== undefined) break;
    }
    child.kill("SIGTERM");
    const lines = (await new Response(child.stderr).text()).split("\n");
    expect(await child.exited).toBe(0);
    expect(lines.filter((line) => line.includes("listening on fd"))).toEqual([
      `nbdkit: debug: socket activation: listening on fd 3${shown}`,
    ]);
  });

  test.each(
    servers.flatMap(([name, command]) =>
      ["0", "17", "2"].map((count) => [count, name, command] as const),
    ),
  )("refuses LISTEN_FDS=%s (%s)", async (count, _name, command) => {
    using folder = new Folder();
    const result = await run(launch(folder, 0, count, ...command, "null"));
    expect(result).toMatchObject({ code: 1, stdout: "" });
  });

  test.each(servers)("for another process is ignored with a message (%s)", async (_, command) => {
    using folder = new Folder();
    const words = [...command, "-U", "-", "null", "--run", "echo ran; echo $LISTEN_FDS"];
    const { code, stdout, stderr } = await run(launch(folder, 1, "1", ...words));
    expect({ code, ran: stdout.split("\n")[0] }).toEqual({ code: 0, ran: "ran" });
    expect(stderr).toContain("(ignored)");
  });
});

describe.each(servers)("-s (%s)", (_, command) => {
  test("serves a client on pipes", async () => {
    const child = Bun.spawn([...command, "-s", "memory", "4k"], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    void child.stdin.write(readAndLeave(512));
    void child.stdin.end();
    const replies = Buffer.from(await new Response(child.stdout).bytes());
    // The greeting, size and flags of the export, and the reply.
    expect(replies.subarray(0, 16).toString()).toBe("NBDMAGICIHAVEOPT");
    expect(replies.readBigUInt64BE(18)).toBe(4096n);
    expect(replies.subarray(28, 44).toString("hex")).toBe("67446698000000000000000000000001");
    expect(replies.length).toBe(28 + 16 + 512);
    expect(await child.exited).toBe(0);
  });

  test("serves a session from a file, into a file", async () => {
    using folder = new Folder();
    writeFileSync(folder.file("in"), readAndLeave(512));
    const server = shellCommand([...command, "-s", "memory", "4k"]);
    const shell = `${server} <'${folder.file("in")}' >'${folder.file("out")}'`;
    expect(await run(["/bin/sh", "-c", shell])).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(readFileSync(folder.file("out"))).toHaveLength(28 + 16 + 512);
  });

  test("ends when its client disconnects without sending anything", async () => {
    const child = Bun.spawn([...command, "-s", "memory", "4k"], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    void child.stdin.end();
    const replies = Buffer.from(await new Response(child.stdout).bytes());
    expect(replies.toString("latin1", 0, 16)).toBe("NBDMAGICIHAVEOPT");
    expect(await child.exited).toBe(0);
  });
});

test.skipIf(!installed("nbdinfo"))(
  "nbdinfo starts the server by socket activation (needs nbdinfo)",
  async () => {
    const result = await run(["nbdinfo", "--size", "--", "[", ...program, "memory", "4k", "]"]);
    expect(result).toEqual({ code: 0, stdout: "4096\n", stderr: "" });
  },
);

test.skipIf(!installed("nbdsh"))("-s serves libnbd on a socket (needs nbdsh)", async () => {
  const words = JSON.stringify([...program, "-s", "memory", "4k"]);
  const script = `h.connect_command(${words}); h.pwrite(b"x" * 512, 512); print(h.get_size(), h.pread(3, 512)); h.shutdown()`;
  const env = { PATH: `/usr/bin:${process.env["PATH"]}` };
  expect(await run(["nbdsh", "-c", script], { env })).toEqual({
    code: 0,
    stdout: "4096 bytearray(b'xxx')\n",
    stderr: "",
  });
});

test("-s waits until a client that has disconnected has read its replies", async () => {
  using folder = new Folder();
  writeFileSync(folder.file("in"), readAndLeave(1 << 20));
  const server = shellCommand([...program, "-v", "-s", "memory", "1M"]);
  // The pipe, which holds far less than a mebibyte, has no reader until the layers are closed.
  const reader = "until grep -q 'memory: close' log; do sleep 0.01; done; wc -c";
  const shell = `cd '${folder.path}' && ${server} <in 2>log | { ${reader}; }`;
  const { code, stdout } = await run(["/bin/sh", "-c", shell]);
  expect({ code, bytes: Number(stdout) }).toEqual({ code: 0, bytes: 28 + 16 + (1 << 20) });
});

test.skipIf(!installed("perl"))(
  "-s waits for its client even on a non-blocking descriptor (needs perl)",
  async () => {
    // Bun makes the descriptors of its children blocking, so perl starts the server.
    const nonBlocking = "fcntl (STDIN, F_SETFL, O_NONBLOCK) or die; exec @ARGV";
    const perl = ["perl", "-MFcntl", "-e", nonBlocking];
    const child = Bun.spawn([...perl, ...program, "-s", "memory", "4k"], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    const reader = child.stdout.getReader();
    let bytes = (await reader.read()).value?.length ?? 0;
    void child.stdin.write(readAndLeave(512));
    void child.stdin.end();
    for (let part; !(part = await reader.read()).done;) bytes += part.value.length;
    expect({ bytes, code: await child.exited, stderr: await child.stderr.text() }).toEqual({
      bytes: 28 + 16 + 512,
      code: 0,
      stderr: "",
    });
  },
);

test("a signal stops a server of -s", async () => {
  const child = Bun.spawn([...program, "-s", "memory", "4k"], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  const reader = child.stdout.getReader();
  await reader.read();
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);
});

test("-s needs stdin", async () => {
  expect(await run(["/bin/sh", "-c", `${shellCommand([...program, "-s", "null"])} <&-`])).toEqual({
    code: 1,
    stdout: "",
    stderr: "nbdkit: error: option -s/--single: stdin is closed: expected a socket or a pipe\n",
  });
});

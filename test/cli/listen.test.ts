/** Where the server listens: several places, families, ports in use, systemd's sockets; and the one client of -s. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { installed, program, run } from "#test/server";

import { Folder, servers } from "./daemon-fixture.ts";
import { start } from "./process-fixture.ts";

setDefaultTimeout(60_000);

const life = join(import.meta.dir, "life-fixture.ts");

/** The port that a server of `args` chose. */
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

describe("several places", () => {
  test("are listened on at once, and --print-uri prints all", async () => {
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

  test("are all closed if one cannot be opened", async () => {
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

describe("TCP", () => {
  test("is all addresses of both families, with one port", () =>
    withPort(["-p0"], async (port) => {
      for (const address of ["127.0.0.1", "::1"]) {
        expect(await size({ port, address })).toBe(1048576n);
      }
    }));

  test.each([
    ["-4", "127.0.0.1", "::1"],
    ["-6", "::1", "127.0.0.1"],
  ])("with %s is one family", (option, yes, no) =>
    withPort(["-p0", option], async (port) => {
      expect(await size({ port, address: yes })).toBe(1048576n);
      expect(await refusedBy({ port, address: no })).toBeTrue();
    }),
  );

  test("--keepalive is set for clients", () =>
    withPort(["-p0", "-i127.0.0.1", "--keepalive"], async (port, server) => {
      await using client = await NbdClient.connect({ port });
      await client.hello();
      // The timer of a connection that is kept alive.
      const { stdout } = await run(["ss", "-tnoHp", "sport", "=", `:${port}`]);
      const ours = stdout.split("\n").filter((line) => line.includes(`pid=${server.pid},`));
      expect(ours.join("\n")).toMatch(installed("ss") ? /timer:\(keepalive/ : /^$/);
    }));

  test("refuses an address of the wrong family", async () => {
    const result = await run([...program, "-6", "-i", "127.0.0.1", "-p0", "null"]);
    expect(result).toMatchObject({ code: 1, stdout: "" });
    expect(result.stderr).toMatch(/^nbdkit: error: 127\.0\.0\.1 as an address of IPv6: cannot/);
  });

  test.each(servers)("does without an address whose port is in use (%s)", async (_, command) => {
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

test("a port of vsock is listened on once", async () => {
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

test.each(servers)("a label without SELinux is an error (%s)", async (_, command) => {
  const args = ["--selinux-label=system_u:object_r:nbd_t:s0", "-U", "-", "null", "--run", "true"];
  const { code, stdout, stderr } = await run([...command, ...args]);
  // Where there is SELinux it may be one of the policy's.
  if (code === 0) return;
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr.toLowerCase()).toContain("selinux");
});

/** Starts a server as systemd does: with a listening socket at 3. */
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

  test.each(servers)("serves on the socket, in the foreground (%s)", async (_, command) => {
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

  test("an abstract socket has no URI that could be printed", async () => {
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
  ])("LISTEN_FDNAMES=%s is shown with -v", async (names, shown) => {
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

  test.each(servers)("for another process is ignored, and said (%s)", async (_, command) => {
    using folder = new Folder();
    const words = [...command, "-U", "-", "null", "--run", "echo ran; echo $LISTEN_FDS"];
    const { code, stdout, stderr } = await run(launch(folder, 1, "1", ...words));
    expect({ code, ran: stdout.split("\n")[0] }).toEqual({ code: 0, ran: "ran" });
    expect(stderr).toContain("(ignored)");
  });
});

/** Speaks to a server on two pipes, or through files, and prints what it gets. */
const asks = Buffer.concat([
  Buffer.from([0, 0, 0, 3]),
  Buffer.from("IHAVEOPT"),
  Buffer.from([0, 0, 0, 1, 0, 0, 0, 0]),
  Buffer.from("25609513000000000000000000000001000000000000000000000200", "hex"),
  Buffer.from("25609513000000020000000000000002000000000000000000000000", "hex"),
]);

describe.each(servers)("-s (%s)", (_, command) => {
  test("serves a client on pipes", async () => {
    const child = Bun.spawn([...command, "-s", "memory", "4k"], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    void child.stdin.write(asks);
    void child.stdin.end();
    const said = Buffer.from(await new Response(child.stdout).bytes());
    // The greeting, size and flags of the export, and the reply.
    expect(said.subarray(0, 16).toString()).toBe("NBDMAGICIHAVEOPT");
    expect(said.readBigUInt64BE(18)).toBe(4096n);
    expect(said.subarray(28, 44).toString("hex")).toBe("67446698000000000000000000000001");
    expect(said.length).toBe(28 + 16 + 512);
    expect(await child.exited).toBe(0);
  });

  test("serves a client whose words are in a file, into a file", async () => {
    using folder = new Folder();
    writeFileSync(folder.file("in"), asks);
    const words = [...command, "-s", "memory", "4k"].map((word) => `'${word}'`).join(" ");
    const shell = `${words} <'${folder.file("in")}' >'${folder.file("out")}'`;
    expect(await run(["/bin/sh", "-c", shell])).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(readFileSync(folder.file("out"))).toHaveLength(28 + 16 + 512);
  });

  test("ends when its client leaves without a word", async () => {
    const child = Bun.spawn([...command, "-s", "memory", "4k"], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    void child.stdin.end();
    const said = Buffer.from(await new Response(child.stdout).bytes());
    expect(said.toString("latin1", 0, 16)).toBe("NBDMAGICIHAVEOPT");
    expect(await child.exited).toBe(0);
  });
});

test.skipIf(!installed("nbdinfo"))(
  "nbdinfo starts it as systemd does (needs nbdinfo)",
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

test("-s waits until a client that has left took its answers", async () => {
  using folder = new Folder();
  const read = Buffer.from("25609513000000000000000000000001000000000000000000100000", "hex");
  const [greeting, leaving] = [asks.subarray(0, 20), asks.subarray(-28)];
  writeFileSync(folder.file("in"), Buffer.concat([greeting, read, leaving]));
  const words = [...program, "-v", "-s", "memory", "1M"].map((word) => `'${word}'`).join(" ");
  // There is no reader before the layers are closed, and a pipe takes far less than a mebibyte.
  const reader = "until grep -q 'memory: close' log; do sleep 0.01; done; wc -c";
  const shell = `cd '${folder.path}' && ${words} <in 2>log | { ${reader}; }`;
  const { code, stdout } = await run(["/bin/sh", "-c", shell]);
  expect({ code, bytes: Number(stdout) }).toEqual({ code: 0, bytes: 28 + 16 + (1 << 20) });
});

test.skipIf(!installed("perl"))(
  "-s waits for its client even on a non-blocking descriptor (needs perl)",
  async () => {
    // Bun lets what it starts wait, so that another process has to begin.
    const nonBlocking = "fcntl (STDIN, F_SETFL, O_NONBLOCK) or die; exec @ARGV";
    const perl = ["perl", "-MFcntl", "-e", nonBlocking];
    const child = Bun.spawn([...perl, ...program, "-s", "memory", "4k"], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    const reader = child.stdout.getReader();
    let bytes = (await reader.read()).value?.length ?? 0;
    void child.stdin.write(asks);
    void child.stdin.end();
    for (let part; !(part = await reader.read()).done;) bytes += part.value.length;
    expect({ bytes, code: await child.exited, stderr: await child.stderr.text() }).toEqual({
      bytes: 28 + 16 + 512,
      code: 0,
      stderr: "",
    });
  },
);

test("-s is stopped by a signal", async () => {
  const child = Bun.spawn([...program, "-s", "memory", "4k"], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  const reader = child.stdout.getReader();
  await reader.read();
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);
});

test("-s needs stdin", async () => {
  const words = [...program, "-s", "null"].map((word) => `'${word}'`).join(" ");
  expect(await run(["/bin/sh", "-c", `${words} <&-`])).toEqual({
    code: 1,
    stdout: "",
    stderr: "nbdkit: error: option -s/--single: stdin is closed: expected a socket or a pipe\n",
  });
});

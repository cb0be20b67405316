/** What modules print with console and process.stdout goes to stderr, and never to the client of -s. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { installed, isListening, program, run, until } from "#test/server";

import { Folder } from "./daemon-fixture.ts";
import { start } from "./process-fixture.ts";
import { readAndLeave } from "./session-fixture.ts";

const printing = join(import.meta.dir, "printing-fixture.ts");

const printed = (where: string) =>
  `log in ${where}: 1\ninfo in ${where}\ndebug in ${where}\n{ where: '${where}' }\nwrite in ${where}\n`;

/** What the fixture prints before, during and after one read by one client. */
const before = ["module", "load", "key", "config_complete", "get_ready", "after_fork"];
const reading = ["open", "pread"].map(printed).join("") + "stdout in pread\n";
const after = ["close", "unload"].map(printed).join("");

const chains: readonly (readonly [string, readonly string[]])[] = [
  ["in TypeScript", []],
  ["with C", ["--filter=nofilter"]],
];

describe.each(chains)("what a module in a chain %s prints", (kind, filters) => {
  const skipped = filters.length > 0 && !installed("nbdkit");
  const inWorker = kind === "with C" ? "" : "worker in pread\n";

  test.skipIf(skipped)("goes to stderr", async () => {
    using folder = new Folder();
    const socket = folder.file("sock");
    await using server = start("-U", socket, ...filters, printing, "key=value");
    await until(() => isListening(socket));
    const { client } = await NbdClient.ready({ unix: socket });
    expect((await client.ask({ type: 0, count: 1 })).data).toEqual(Uint8Array.of(7));
    await client[Symbol.asyncDispose]();
    server.process.kill("SIGTERM");
    expect(await server.ended()).toEqual({
      code: 0,
      stdout: "",
      stderr: before.map(printed).join("") + reading + inWorker + after,
    });
  });

  test.skipIf(skipped)("does not reach the client of -s", async () => {
    const child = Bun.spawn([...program, "-s", ...filters, printing, "key=value"], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    void child.stdin.write(readAndLeave(1));
    void child.stdin.end();
    const replies = Buffer.from(await new Response(child.stdout).bytes());
    expect(withoutFlags(replies)).toBe(answer);
    const words = before.map(printed);
    words.splice(2, 0, "worker in load\n");
    const stderr = await new Response(child.stderr).text();
    expect(stderr).toBe(words.join("") + reading + inWorker + after);
    expect(await child.exited).toBe(0);
  });
});

test("-s sends only replies to an inetd that passes its socket as stdin, stdout and stderr", async () => {
  const script = `
import socket, subprocess, sys
ours, theirs = socket.socketpair()
child = subprocess.Popen(sys.argv[2:], stdin=theirs, stdout=theirs, stderr=theirs)
theirs.close()
ours.sendall(bytes.fromhex(sys.argv[1]))
ours.shutdown(socket.SHUT_WR)
received = b""
while True:
    chunk = ours.recv(65536)
    if not chunk: break
    received += chunk
print(received.hex(), child.wait())
`;
  const server = [...program, "-s", printing, "key=value"];
  const { stdout, stderr } = await run([
    "python3",
    "-c",
    script,
    readAndLeave(1).toString("hex"),
    ...server,
  ]);
  const [replies = "", code] = stdout.trim().split(" ");
  expect({ replies: withoutFlags(Buffer.from(replies, "hex")), code, stderr }).toEqual({
    replies: answer,
    code: "0",
    stderr: "",
  });
});

test("--dump-plugin prints the output of process.stdout, but not that of console", async () => {
  const { code, stdout, stderr } = await run([...program, "--dump-plugin", printing]);
  expect(stdout.endsWith("printing=yes\n")).toBe(true);
  expect(stdout).not.toContain(" in ");
  expect({ code, stderr }).toEqual({
    code: 0,
    stderr: printed("module") + printed("load") + printed("unload"),
  });
});

/** The greeting, the size of the export, a reply and the byte that was read. */
const answer = `${Buffer.from("NBDMAGICIHAVEOPT").toString("hex")} 0000000000001000 ${"67446698000000000000000000000001"}07`;

function withoutFlags(replies: Buffer): string {
  const hex = replies.toString("hex");
  return `${hex.slice(0, 32)} ${hex.slice(36, 52)} ${hex.slice(56)}`;
}

/** TypeScript modules that misbehave affect no other client, and the server survives. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { bytes, NbdClient, request } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { program, run, serve } from "#test/server";

import { start } from "../cli/process-fixture.ts";
import { ways } from "./hostile-fixture.ts";

const filter = `--filter=${join(import.meta.dir, "hostile-fixture.ts")}`;
const hostile = (how: string, ...filters: string[]) =>
  serve([...filters, filter, "memory", "1M", `how=${how}`]);
const EIO = 5;
const READ = 0;
const WRITE = 1;
const count = 4096;

/** Another client can connect. */
async function isServed(socket: string): Promise<void> {
  const { client } = await NbdClient.ready({ unix: socket });
  await using connection = client;
  expect(connection.over).toBeFalse();
}

describe("a thrown value", () => {
  test.each(ways)(
    "of the kind %s fails each request with EIO, and is logged once for each",
    async (how) => {
      await using server = await hostile(how);
      const { client } = await NbdClient.ready({ unix: server.socket });
      await using connection = client;
      expect((await connection.ask({ type: READ, count })).error).toBe(EIO);
      expect((await connection.ask({ type: WRITE, payload: new Uint8Array(8) })).error).toBe(EIO);
      await isServed(server.socket);
      const { code, stderr } = await server.stop();
      expect(code).toBe(0);
      expect(stderr.match(/error: hostile: (pread|pwrite) threw/g)).toBeArrayOfSize(2);
    },
  );

  test.each(ways)("of the kind %s that no code catches does not end the server", async (how) => {
    await using server = await hostile(`forget-${how}`);
    const { client } = await NbdClient.ready({ unix: server.socket });
    await using connection = client;
    expect((await connection.ask({ type: READ, count })).error).toBe(0);
    await server.printed(/(an error was not caught[^]*){2}/);
    await isServed(server.socket);
    expect((await server.stop()).code).toBe(0);
  });
});

describe("a filter that transfers its buffer", () => {
  const below = "hostile: (pread|pwrite) transferred or detached the memory that it was lent";

  test("before it returns fails the read, and nothing else", async () => {
    await using server = await hostile("take-later");
    const { client } = await NbdClient.ready({ unix: server.socket });
    await using connection = client;
    for (let i = 0; i < 3; i++) {
      expect((await connection.ask({ type: READ, count })).error).toBe(EIO);
      expect((await connection.ask({ type: WRITE, payload: new Uint8Array(8) })).error).toBe(0);
    }
    expect((await server.stop()).stderr).toMatch(new RegExp(`^(nbdkit: .*${below}\n){3}$`));
  });

  test("after it has returned changes nothing", async () => {
    await using server = await hostile("take-after");
    const { client } = await NbdClient.ready({ unix: server.socket });
    await using connection = client;
    const payload = new Uint8Array(count).fill(9);
    await connection.ask({ type: WRITE, payload });
    for (let i = 0; i < 50; i++) {
      const { data, error } = await connection.ask({ type: READ, count });
      expect({ data, error }).toEqual({ data: payload, error: 0 });
    }
    expect(await server.stop()).toEqual({ code: 0, stderr: "" });
  });

  test("fails the write, and disconnects the client if the buffer holds its next requests", async () => {
    await using server = await hostile("take");
    const { client } = await NbdClient.ready({ unix: server.socket });
    await using connection = client;
    expect((await connection.ask({ type: WRITE, payload: new Uint8Array(8) })).error).toBe(EIO);
    const write = request({ type: WRITE, payload: new Uint8Array(8) });
    // In one piece, so that both are delivered in the same memory.
    connection.send(bytes(write, write));
    await connection.closed;
    await isServed(server.socket);
    expect((await server.stop()).code).toBe(0);
  });
});

test.skipIf(!haveCompiler)(
  "a buffer of a C filter that a TypeScript filter keeps is detached later (needs cc)",
  async () => {
    const bouncing = await compileModule("test/fixtures/bouncing.c");
    await using server = await hostile("keep", `--filter=${bouncing}`);
    const { client } = await NbdClient.ready({ unix: server.socket });
    await using connection = client;
    const payload = new Uint8Array(count).fill(1);
    for (let i = 0; i < 4; i++) {
      expect((await connection.ask({ type: WRITE, payload })).error).toBe(0);
      const { data, error } = await connection.ask({ type: READ, count });
      expect({ data, error }).toEqual({ data: payload, error: 0 });
    }
    expect(await server.stop()).toEqual({ code: 0, stderr: "" });
  },
);

test("a read that a filter does not wait for fails with a message", async () => {
  await using server = await serve([
    filter,
    "--filter=delay",
    "memory",
    "1M",
    "how=hasty",
    "rdelay=1ms",
  ]);
  const { client } = await NbdClient.ready({ unix: server.socket });
  await using connection = client;
  for (let i = 0; i < 3; i++) {
    expect((await connection.ask({ type: READ, count })).error).toBe(EIO);
  }
  connection.terminate();
  const line =
    "nbdkit: memory[1]: error: hostile: pread ended while its next.pread was still under way: await or return it\n";
  expect(await server.stop()).toEqual({ code: 0, stderr: line.repeat(3) });
});

test.skipIf(!haveCompiler)(
  "a C filter is closed only after a read that the filter above does not wait for (needs cc)",
  async () => {
    const outliving = `--filter=${await compileModule("test/fixtures/outliving.c")}`;
    await using server = await serve([filter, outliving, "memory", "1M", "how=ahead"]);
    const { client } = await NbdClient.ready({ unix: server.socket });
    await using connection = client;
    expect((await connection.ask({ type: READ, count })).error).toBe(0);
    connection.terminate();
    await isServed(server.socket);
    expect(await server.stop()).toEqual({ code: 0, stderr: "" });
  },
);

test("a filter that calls process.exit is logged", async () => {
  await using server = await hostile("exit");
  const { client } = await NbdClient.ready({ unix: server.socket });
  await using connection = client;
  connection.request({ type: READ, count });
  await connection.closed;
  expect(await server.process.exited).toBe(3);
  expect((await server.stop()).stderr).toBe(
    "nbdkit: error: a module has ended the server: process.exit(3)\n",
  );
});

describe("a module in a file of its own", () => {
  async function inFolder(name: string, text: string, see: (file: string) => Promise<void>) {
    const folder = mkdtempSync(join(tmpdir(), "nbdkit-hostile-"));
    try {
      const file = join(folder, name);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, text);
      await see(file);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  test.each(["what?/is#100%41.ts", "back\\slash.ts", 'it\'s "quoted".ts', "*[a]{b}\n.ts"])(
    "may be called %j",
    (name) =>
      inFolder(name, 'export default { name: "odd" };', async (file) => {
        const args = [`--filter=${file}`, "-U", "-", "null", "--run", "true"];
        expect(await run([...program, ...args])).toEqual({ code: 0, stdout: "", stderr: "" });
      }),
  );

  test(
    "that is never loaded is logged",
    () =>
      inFolder("never.ts", "await new Promise(() => {});", async (file) => {
        await using server = start(`--filter=${file}`, "null");
        await server.printed(/never[.]ts: still waiting for this module to be loaded: /);
        server.process.kill("SIGTERM");
        expect((await server.ended()).code).toBe(143);
      }),
    20_000,
  );
});

describe("an invalid module", () => {
  test.each([
    ["a bigint as name", "{ name: 12n }", "filter.name (12n) must be ASCII letters"],
    [
      "a cyclic object as name",
      "(() => { const a = {}; a.a = a; return { name: a }; })()",
      "filter.name ([object Object]) must be",
    ],
    [
      "a cyclic object as method",
      "(() => { const a = {}; a.a = a; return { name: 'x', pread: a }; })()",
      "filter.pread is [object Object]: expected a function",
    ],
    [
      "a proxy that throws",
      "new Proxy({}, { get(_, key) { if (key !== 'then') throw new Error('looked at'); } })",
      "the filter cannot be looked at: looked at",
    ],
  ])("is refused with %s", async (_what, value, message) => {
    const folder = mkdtempSync(join(tmpdir(), "nbdkit-hostile-"));
    try {
      const file = join(folder, "module.ts");
      writeFileSync(file, `export default ${value};`);
      const { code, stdout, stderr } = await run([...program, "-f", `--filter=${file}`, "null"]);
      expect({ code, stdout, lines: stderr.split("\n").length }).toEqual({
        code: 1,
        stdout: "",
        lines: 2,
      });
      expect(stderr).toStartWith(`nbdkit: error: ${file}: ${message}`);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

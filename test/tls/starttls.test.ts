/** STARTTLS on the wire: options before and after it, and handshakes that fail. */
import { describe, expect, test } from "bun:test";
import net from "node:net";
import tls from "node:tls";

import { bytes, infoPayload, metaPayload, type NbdClient, option, request } from "#test/client";
import { randomFrom } from "#test/random";
import { until } from "#test/server";
import { settingsOf } from "#test/settings";

import { prepareTls } from "../../src/server/tls.ts";
import { quiet, running } from "../protocol/server-fixture.ts";
import { startTls } from "./bridge.ts";
import { ask, needs, read, secured, skip } from "./tls-fixture.ts";

const EXPORT_NAME = 1;
const ABORT = 2;
const LIST = 3;
const STARTTLS = 5;
const INFO = 6;
const GO = 7;
const STRUCTURED_REPLY = 8;
const LIST_META_CONTEXT = 9;
const SET_META_CONTEXT = 10;
const ACK = 1;
const SERVER = 2;
const UNSUP = 0x80000001;
const POLICY = 0x80000002;
const INVALID = 0x80000003;
const TLS_REQD = 0x80000005;

/** The type of the last reply to an option. */
async function answer(client: NbdClient, number: number, data?: Uint8Array): Promise<unknown> {
  return (await client.option(number, data)).at(-1)?.type;
}

describe("a server without TLS", () => {
  test("refuses STARTTLS with POLICY, and continues", async () => {
    await using server = await running({ tls: { mode: "off" } });
    const client = await server.connect();
    await client.hello();
    expect(await answer(client, STARTTLS)).toBe(POLICY);
    expect(await client.go("")).toMatchObject({ size: 65536n });
  });

  test("refuses STARTTLS with UNSUP if TLS is not available", async () => {
    await using server = await running({ tls: { mode: "unsupported" } });
    const client = await server.connect();
    await client.hello();
    expect(await answer(client, STARTTLS)).toBe(UNSUP);
  });

  test("results from --tls=off, even with certificates and keys", () => {
    const nowhere = "/nonexistent";
    const settings = settingsOf(
      "--tls=off",
      `--tls-certificates=${nowhere}`,
      `--tls-psk=${nowhere}`,
      "null",
    );
    expect(prepareTls(settings.tls)).toEqual({ mode: "off" });
  });
});

describe.skipIf(skip)(`a server that requires TLS${needs}`, () => {
  test("refuses all options before TLS, and reads their payloads", async () => {
    await using server = await secured();
    const client = await server.connect();
    await client.hello();
    const options: readonly (readonly [number, Uint8Array?])[] = [
      [LIST],
      [INFO, infoPayload("")],
      [GO, infoPayload("")],
      [STRUCTURED_REPLY],
      [LIST_META_CONTEXT, metaPayload("")],
      [SET_META_CONTEXT, metaPayload("", ["base:allocation"])],
      [4, new Uint8Array(100_000)],
      [99, bytes("what?")],
    ];
    const answers: unknown[] = [];
    for (const [number, data] of options) answers.push(await answer(client, number, data));
    expect(answers).toEqual(options.map(() => TLS_REQD));
    expect(server.calls).toEqual([]);
    expect(await answer(client, STARTTLS, bytes("?"))).toBe(INVALID);
    expect(await answer(client, STARTTLS)).toBe(ACK);
  });

  test("accepts ABORT before TLS", async () => {
    await using server = await secured();
    const client = await server.connect();
    await client.hello();
    expect(await answer(client, ABORT)).toBe(ACK);
    await client.closed;
  });

  test("disconnects a client that sends EXPORT_NAME before TLS", async () => {
    using log = quiet();
    await using server = await secured();
    const client = await server.connect();
    await client.hello();
    client.send(option(EXPORT_NAME));
    await client.closed;
    expect(client.available).toBe(0);
    expect(log.lines).toEqual(["disk[1]: error: NBD_OPT_EXPORT_NAME: the server requires TLS"]);
  });

  test("disconnects a client without fixed newstyle", async () => {
    using _ = quiet();
    await using server = await secured();
    const client = await server.connect();
    await client.hello(0);
    client.send(option(EXPORT_NAME));
    await client.closed;
    expect(server.calls).toEqual([]);
  });

  test("passes isTls to open, but not to preconnect", async () => {
    const met: unknown[] = [];
    await using server = await secured({
      meets: (when, { isTls, tlsNames }) => met.push([when, isTls, tlsNames]),
    });
    const client = await server.secure();
    expect(await client.go("")).toMatchObject({ size: 65536n });
    expect(met).toEqual([
      ["preconnect", false, undefined],
      ["open", true, undefined],
    ]);
  });
});

describe.skipIf(skip)(`a server that offers TLS${needs}`, () => {
  test.each(["TLSv1.2", "TLSv1.3"] as const)("serves clients with %s", async (version) => {
    await using server = await secured({ tls: { mode: "on" } });
    const client = await server.secure({ minVersion: version, maxVersion: version });
    expect(await client.go("")).toMatchObject({ size: 65536n });
    const payload = Uint8Array.from({ length: 3000 }, (_, i) => i);
    expect(await ask(client, { type: 1, offset: 7n, payload })).toMatchObject({ error: 0 });
    expect(server.disk.subarray(7, 3007)).toEqual(payload);
    expect(await read(client, 0n, 65536)).toEqual(server.disk);
  });

  test("serves clients without TLS", async () => {
    const met: unknown[] = [];
    await using server = await secured({
      tls: { mode: "on" },
      meets: (when, { isTls }) => met.push([when, isTls]),
    });
    const { export: found } = await server.ready();
    expect(found.size).toBe(65536n);
    expect(met).toEqual([
      ["preconnect", false],
      ["open", false],
    ]);
  });

  test("refuses a second STARTTLS", async () => {
    await using server = await secured({ tls: { mode: "on" } });
    const client = await server.secure();
    expect(await answer(client, STARTTLS)).toBe(INVALID);
    expect(await client.go("")).toMatchObject({ size: 65536n });
  });

  test("accepts ABORT after STARTTLS", async () => {
    await using server = await secured({ tls: { mode: "on" } });
    const client = await server.secure();
    expect(await answer(client, ABORT)).toBe(ACK);
    await client.closed;
  });
});

/** An attack that must fail: a man in the middle sends data in the client's name. */
describe.skipIf(skip)(`the server${needs}`, () => {
  test("forgets options from before STARTTLS: structured replies, meta contexts, the default export, the list", async () => {
    const before: readonly Uint8Array[] = [
      option(STRUCTURED_REPLY),
      option(SET_META_CONTEXT, metaPayload("", ["base:allocation"])),
      option(INFO, infoPayload("", [1])),
      option(LIST),
    ];
    using _ = quiet();
    const asked: boolean[] = [];
    await using server = await secured({
      tls: { mode: "on" },
      plugin: {
        defaultExport: (_config: unknown, _readonly: boolean, isTls: boolean) => {
          asked.push(isTls);
          return isTls ? "of TLS" : "in plain text";
        },
        listExports: (_config: unknown, _readonly: boolean, isTls: boolean, exports: Adds) => {
          exports.add(isTls ? "of TLS" : "in plain text");
        },
      },
    });
    const client = await server.secure({}, before);
    // Without structured replies there are no contexts.
    const contexts = metaPayload("", ["base:allocation"]);
    expect(await answer(client, SET_META_CONTEXT, contexts)).toBe(INVALID);
    const listed = await client.option(LIST);
    expect(listed.map(({ type }) => type)).toEqual([SERVER, ACK]);
    expect(Buffer.from(listed[0]?.data.subarray(4) ?? []).toString()).toBe("of TLS");
    expect(asked).toEqual([false]);
    const found = await client.go("");
    expect(asked).toEqual([false, true]);
    // Without SEND_DF replies are simple, and there is no block status.
    expect("eflags" in found && found.eflags & 128).toBe(0);
    expect((await ask(client, { type: 7, count: 512 })).error).toBe(22);
    expect(await read(client, 0n, 16)).toEqual(server.disk.subarray(0, 16));
  });

  test.each([
    ["one more option", option(STRUCTURED_REPLY)],
    ["the choice of an export", option(GO, infoPayload(""))],
    [
      "a request",
      Buffer.concat([option(GO, infoPayload("")), request({ type: 1, payload: bytes("evil") })]),
    ],
  ])("does not read data behind STARTTLS as NBD: %s", async (_what, injected) => {
    using log = quiet();
    await using server = await secured({ tls: { mode: "on" } });
    const client = await server.connect();
    await client.hello();
    client.send(Buffer.concat([option(STARTTLS), injected]));
    expect((await client.optionReply()).type).toBe(ACK);
    await client.closed;
    expect(server.calls).toEqual([]);
    // Only an alert.
    expect((await client.take(client.available))[0]).toBe(21);
    expect(log.lines).toEqual([
      "disk[1]: error: TLS handshake: An unexpected TLS packet was received",
    ]);
  });

  test("does not read an option in place of the handshake as NBD", async () => {
    using log = quiet();
    await using server = await secured({ tls: { mode: "on" } });
    const raw = await startTls(server.socket);
    raw.write(option(GO, infoPayload("")));
    await new Promise((resolve) => raw.once("close", resolve));
    expect(server.calls).toEqual([]);
    expect(log.lines.length).toBe(1);
  });
});

interface Adds {
  add(name: string): void;
}

describe.skipIf(skip)(`a handshake${needs}`, () => {
  test.each([
    ["text", bytes("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")],
    ["zeroes", new Uint8Array(4096)],
    [
      "a record that is too long",
      bytes(new Uint8Array([22, 3, 1, 0xff, 0xff]), new Uint8Array(70_000)),
    ],
    [
      "a record without a handshake message",
      bytes(new Uint8Array([22, 3, 1, 0, 4, 99, 99, 99, 99])),
    ],
    ["an alert", bytes(new Uint8Array([21, 3, 1, 0, 2, 2, 40]))],
  ])("that begins with %s is ended without affecting other clients", async (_what, garbage) => {
    using log = quiet();
    await using server = await secured();
    const raw = await startTls(server.socket);
    const gone = new Promise((resolve) => raw.once("close", resolve));
    raw.resume();
    raw.end(garbage);
    await gone;
    await until(() => server.server.connections === 0);
    expect(log.lines.length).toBe(1);
    expect(log.lines[0]).toStartWith("disk[1]: error: ");
    const client = await server.secure();
    expect(await client.go("")).toMatchObject({ size: 65536n });
  });

  test("ends if the client disconnects in the middle", async () => {
    using log = quiet();
    await using server = await secured();
    const raw = await startTls(server.socket);
    // The first bytes of a record.
    raw.write(new Uint8Array([22, 3, 1, 2, 0, 1]));
    raw.destroy();
    await until(() => server.server.connections === 0);
    expect(log.lines).toEqual(["disk[1]: error: client left in the middle of the TLS handshake"]);
  });

  test("is ended after the time limit", async () => {
    using log = quiet();
    await using server = await secured({ handshakeMs: 50 });
    const raw = await startTls(server.socket);
    raw.resume();
    await new Promise((resolve) => raw.once("close", resolve));
    expect(log.lines).toEqual([
      "disk[1]: error: client spent more than 0.05 s on the TLS handshake",
    ]);
  });

  test("counts for --timeout", async () => {
    using log = quiet();
    await using server = await secured({ policy: { timeoutSeconds: 0.05 } });
    const raw = await startTls(server.socket);
    raw.resume();
    await new Promise((resolve) => raw.once("close", resolve));
    expect(log.lines[0]).toBe("disk[1]: error: client spent more than 0.05 s on the handshake");
  });

  test("is ended if the client sends data without end", async () => {
    using log = quiet();
    await using server = await secured();
    const raw = await startTls(server.socket);
    raw.resume();
    const closed = new Promise((resolve) => raw.once("close", resolve));
    // Handshake messages whose length field is large.
    const record = bytes(
      new Uint8Array([22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff]),
      new Uint8Array(16380),
    );
    flood(raw, record);
    await closed;
    await until(() => server.server.connections === 0);
    expect(log.lines.length).toBe(1);
  });

  test("with damaged first bytes does not affect other clients", async () => {
    using _ = quiet();
    await using server = await secured();
    const hello = await clientHello();
    const next = randomFrom(20260101);
    const random = (limit: number): number => Math.floor(next() * limit);
    for (let round = 0; round < 150; round++) {
      const damaged = Uint8Array.from(hello);
      for (let i = random(4); i >= 0; i--) damaged[random(damaged.length)] = random(256);
      const raw = await startTls(server.socket);
      raw.resume();
      const gone = new Promise((resolve) => raw.once("close", resolve));
      raw.end(damaged.subarray(0, random(3) === 0 ? random(damaged.length) : damaged.length));
      await gone;
    }
    const client = await server.secure();
    expect(await client.go("")).toMatchObject({ size: 65536n });
    await until(() => server.server.connections === 1);
  });

  test("does not prevent the server from stopping", async () => {
    using _ = quiet();
    await using server = await secured();
    const raw = await startTls(server.socket);
    raw.resume();
    expect(server.server.connections).toBe(1);
    await server.server.stop();
    expect(server.server.connections).toBe(0);
    raw.destroy();
  });

  test("does not block other clients", async () => {
    await using server = await secured({ threadModel: "serialize_all_requests" });
    const raw = await startTls(server.socket);
    const client = await server.secure();
    expect(await client.go("")).toMatchObject({ size: 65536n });
    raw.destroy();
  });
});

/** The first message of a TLS client. */
async function clientHello(): Promise<Uint8Array> {
  const { promise, resolve } = Promise.withResolvers<Uint8Array>();
  const listener = net.createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", (chunk: Buffer) => {
      resolve(chunk);
      socket.destroy();
    });
  });
  await new Promise<void>((done) => listener.listen({ port: 0, host: "127.0.0.1" }, done));
  const address = listener.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const client = tls.connect({ host: "127.0.0.1", port });
  client.on("error", () => {});
  const hello = await promise;
  client.destroy();
  listener.close();
  return hello;
}

function flood(raw: net.Socket, record: Uint8Array): void {
  const more = (): void => {
    while (!raw.destroyed && raw.write(record));
  };
  raw.on("drain", more);
  more();
}

/**
 * A proxy that sends STARTTLS to the server, for clients that know no TLS, or nothing but TLS. With it tests can send
 * through TLS what libraries would never send.
 */
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";

import { bytes, option } from "#test/client";

export interface Bridge extends AsyncDisposable {
  /** Where clients connect: "" if they connect to the port. */
  readonly unix: string;
  readonly port: number;
  /** Close all connections to the server without ending TLS. */
  cut(): void;
}

const greetingBytes = 18;
const STARTTLS = 5;
const ACK = 1;

/** A connection to the server on which TLS may begin, after these options in plain text and STARTTLS. */
export async function startTls(
  socket: string,
  before: readonly Uint8Array[] = [],
): Promise<net.Socket> {
  const connection = net.connect(socket);
  connection.on("error", () => {});
  connection.write(Buffer.concat([bytes(3), ...before, option(STARTTLS)]));
  const source = new Source(connection);
  await source.take(greetingBytes);
  for (;;) {
    const header = await source.take(20);
    await source.take(header.readUInt32BE(16));
    if (header.readUInt32BE(8) !== STARTTLS) continue;
    if (header.readUInt32BE(12) !== ACK) throw new Error("STARTTLS was refused");
    source.release();
    return connection;
  }
}

/** Collects the data of a socket, which is never paused. */
class Source {
  readonly #socket: net.Socket;
  #all = Buffer.alloc(0);
  #wake: () => void = () => {};
  readonly #add = (chunk: Buffer): void => {
    this.#all = Buffer.concat([this.#all, chunk]);
    this.#wake();
  };

  constructor(socket: net.Socket) {
    this.#socket = socket;
    socket.on("data", this.#add);
    socket.once("close", () => this.#wake());
  }

  async take(count: number): Promise<Buffer> {
    while (this.#all.length < count) {
      if (this.#socket.destroyed) throw new Error(`closed after ${this.#all.length} bytes`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const result = this.#all.subarray(0, count);
    this.#all = this.#all.subarray(count);
    return result;
  }

  /** Leave the socket to another owner. */
  release(): void {
    this.#socket.off("data", this.#add);
  }

  /** Pass on all data, from the beginning. */
  forward(to: net.Socket): void {
    to.write(this.#all);
    this.#socket.on("data", (chunk) => to.write(chunk));
    this.#socket.on("end", () => to.end());
    this.release();
  }
}

/** For clients without TLS. The proxy does the greeting itself. */
export function plainBridge(
  socket: string,
  options: tls.ConnectionOptions,
  before: readonly Uint8Array[] = [],
): Promise<Bridge> {
  return bridge("plain", async (client, cuts) => {
    client.write(bytes("NBDMAGIC", "IHAVEOPT", [2, 3]));
    const source = new Source(client);
    await source.take(4);
    const raw = await startTls(socket, before);
    cuts.add(raw);
    const secure = tls.connect({ ...options, socket: raw });
    secure.on("error", () => client.destroy());
    secure.on("close", () => client.destroy());
    client.on("close", () => raw.destroy());
    source.forward(secure);
    new Source(secure).forward(client);
  });
}

/** For clients that use TLS from the first byte, then NBD from the options on. They connect to a port of 127.0.0.1. */
export function tlsBridge(socket: string): Promise<Bridge> {
  return bridge("", async (client, cuts) => {
    const source = new Source(client);
    const raw = await startTls(socket);
    cuts.add(raw);
    raw.on("close", () => client.destroy());
    client.on("close", () => raw.destroy());
    source.forward(raw);
    new Source(raw).forward(client);
  });
}

async function bridge(
  name: string,
  serve: (client: net.Socket, cuts: Set<net.Socket>) => Promise<void>,
): Promise<Bridge> {
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-bridge-"));
  const unix = name === "" ? "" : join(folder, name);
  const clients = new Set<net.Socket>();
  const cuts = new Set<net.Socket>();
  const cut = (): void => {
    for (const one of cuts) one.destroy();
  };
  const server = net.createServer((client) => {
    clients.add(client);
    client.on("error", () => {});
    serve(client, cuts).catch(() => {
      client.destroy();
      cut();
    });
  });
  const where = unix === "" ? { port: 0, host: "127.0.0.1" } : { path: unix };
  await new Promise<void>((resolve) => server.listen(where, resolve));
  const address = server.address();
  return {
    unix,
    port: typeof address === "object" && address !== null ? address.port : 0,
    cut,
    async [Symbol.asyncDispose]() {
      cut();
      for (const client of clients) client.destroy();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

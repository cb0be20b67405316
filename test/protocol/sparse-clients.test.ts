/** Counts the bytes that real clients receive from a disk with holes: fewer if replies report holes. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { installed, run } from "#test/server";

import type { Extents } from "../../src/lib/extents.ts";
import type { ProtocolPolicy } from "../../src/protocol/policy.ts";
import { pattern, quiet, type Running, running } from "./server-fixture.ts";

const MiB = 1 << 20;
/** 2 MiB of data, 10 of zeroes, 4 of data. */
const size = 16 * MiB;
const holes = [2 * MiB, 12 * MiB] as const;
const dataBytes = size - (holes[1] - holes[0]);

let folder = "";
let logged: ReturnType<typeof quiet>;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-sparse-"));
  logged = quiet();
});
afterEach(() => {
  rmSync(folder, { recursive: true });
  logged[Symbol.dispose]();
});

function withHoles() {
  const disk = pattern(size).fill(0, ...holes);
  const plugin = {
    extentsAnswerReads: true,
    getSize: () => BigInt(size),
    pread: (_h: unknown, buf: Uint8Array, offset: bigint) =>
      buf.set(disk.subarray(Number(offset), Number(offset) + buf.length)),
    extents: (_h: unknown, _count: number, _offset: bigint, _f: number, list: Extents) => {
      list.add(0n, BigInt(holes[0]), 0);
      list.add(BigInt(holes[0]), BigInt(holes[1] - holes[0]), 3);
      list.add(BigInt(holes[1]), BigInt(size - holes[1]), 0);
    },
  };
  return { disk, plugin };
}

/** One side of the proxy, with the bytes that the other side's kernel has not taken. */
interface Side {
  peer: Bun.Socket<Side> | undefined;
  waiting: Uint8Array[];
  over: boolean;
  count(bytes: number): void;
}

/** Passes everything on, and counts the server's bytes. */
function proxyTo(target: string, path: string): Disposable & { readonly received: number } {
  let received = 0;
  const send = (socket: Bun.Socket<Side> | undefined, side: Side): void => {
    for (let chunk = side.waiting[0]; chunk !== undefined; chunk = side.waiting[0]) {
      const taken = Math.max(0, socket?.write(chunk) ?? 0);
      if (taken < chunk.length) {
        side.waiting[0] = chunk.subarray(taken);
        return;
      }
      side.waiting.shift();
    }
    if (side.over) socket?.end();
  };
  const socket: Bun.SocketHandler<Side> = {
    data(from, chunk) {
      from.data.count(chunk.length);
      from.data.waiting.push(new Uint8Array(chunk));
      send(from.data.peer, from.data);
    },
    drain: (to) => to.data.peer && send(to, to.data.peer.data),
    close(from) {
      from.data.over = true;
      send(from.data.peer, from.data);
    },
  };
  const side = (count: Side["count"]): Side => ({
    peer: undefined,
    waiting: [],
    over: false,
    count,
  });
  const listener = Bun.listen<Side>({
    unix: path,
    socket: {
      ...socket,
      open(client) {
        client.data = side(() => {});
        const data = side((bytes) => (received += bytes));
        data.peer = client;
        void Bun.connect<Side>({ unix: target, socket, data }).then((server) => {
          client.data.peer = server;
          send(server, client.data);
        });
      },
    },
  });
  return {
    get received() {
      return received;
    },
    [Symbol.dispose]: () => listener.stop(true),
  };
}

/** Copy the disk with `command`, and return how many bytes the server sent. */
async function copied(
  policy: Partial<ProtocolPolicy>,
  command: (uri: string, target: string) => readonly string[],
): Promise<number> {
  const { disk, plugin } = withHoles();
  const own = mkdtempSync(join(folder, "copy"));
  const socket = join(own, "socket");
  const through = join(own, "proxy");
  const target = join(own, "copy");
  await using it: Running = await running({ plugin, policy, listen: { unix: socket } });
  using proxy = proxyTo(socket, through);
  expect(it.server.connections).toBe(0);
  const { code, stderr } = await run([...command(`nbd+unix:///?socket=${through}`, target)]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(Buffer.compare(readFileSync(target), disk)).toBe(0);
  return proxy.received;
}

const clients = [
  { name: "nbdcopy", command: (uri: string, target: string) => ["nbdcopy", uri, target] },
  {
    name: "qemu-img",
    command: (uri: string, target: string) => ["qemu-img", "convert", "-O", "raw", uri, target],
  },
] as const;

describe.each([...clients])("$name", ({ name, command }) => {
  const suffix = installed(name) ? "" : ` (needs ${name})`;
  test.skipIf(suffix !== "")(
    `gets all data and no zero bytes, without block status${suffix}`,
    async () => {
      const full = await copied({ structuredReplies: false }, command);
      expect(full).toBeGreaterThan(size);
      const holed = await copied({ metaContexts: false }, command);
      expect(holed).toBeGreaterThan(dataBytes);
      expect(holed).toBeLessThan(dataBytes + 64 * 1024);
    },
  );
});

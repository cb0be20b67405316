/** A disk that does not answer delays only the requests that need it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { symlinkSync } from "node:fs";
import { join } from "node:path";

import { NbdClient, type RequestFields } from "#test/client";
import { serve, type Served } from "#test/server";

import {
  CMD_BLOCK_STATUS as BLOCK_STATUS,
  CMD_FLAG_FUA,
  CMD_FLUSH as FLUSH,
  CMD_READ as READ,
  CMD_TRIM as TRIM,
  CMD_WRITE as WRITE,
  CMD_WRITE_ZEROES as WRITE_ZEROES,
} from "../../src/protocol/constants.ts";
import { canHold, type Held, HeldDisk } from "./held-disk-fixture.ts";

const size = 1 << 20;
const data = new Uint8Array(size).fill(0x5a);

const block = { offset: 8192n, count: 4096 };
const written = { type: WRITE, ...block, payload: new Uint8Array(4096) };

describe.skipIf(!canHold)(
  "a disk that does not answer (needs root, cc, fuse3, libfuse3-dev)",
  () => {
    let disk: HeldDisk;
    let server: Served;

    beforeAll(async () => {
      disk = await HeldDisk.mount({ slow: data, other: data });
      for (const name of ["slow", "other"])
        symlinkSync(join(disk.mounted, name), join(disk.folder, name));
      await Bun.write(join(disk.folder, "fast"), data);
      server = await serve(["file", `dir=${disk.folder}`]);
    }, 60_000);

    afterAll(async () => {
      await disk?.[Symbol.asyncDispose]();
      await server?.stop();
    });

    const client = async (name: string) =>
      (await NbdClient.structured({ unix: server.socket }, name)).client;

    /** Checks that a client can read 4 KiB that are in the page cache. */
    async function checkRead(fast: NbdClient): Promise<void> {
      const reply = await fast.askChunk({ type: READ, offset: 4096n, count: 4096 });
      expect(reply.type).toBe(1);
      expect(reply.data.subarray(8)).toEqual(data.subarray(0, 4096));
    }

    /** Whether the next reply, simple or structured, has no error. */
    async function succeeded(from: NbdClient): Promise<boolean> {
      if (await from.structuredIsNext()) return (await from.chunk()).type >> 15 === 0;
      return (await from.reply()).error === 0;
    }

    test.each<[string, Held, RequestFields]>([
      ["a write", "write", written],
      ["a write of a part of a block", "write", { ...written, offset: 100n }],
      ["a write with FUA", "fsync", { ...written, flags: CMD_FLAG_FUA }],
      ["a trim", "fallocate", { type: TRIM, ...block }],
      ["a zero", "fallocate", { type: WRITE_ZEROES, ...block }],
      ["a block status", "lseek", { type: BLOCK_STATUS, ...block }],
      ["a flush", "fsync", { type: FLUSH }],
      ["an uncached read", "read", { type: READ, offset: 0n, count: 4096 }],
      ["a large uncached read", "read", { type: READ, offset: 65536n, count: 512 << 10 }],
    ])("does not delay another client's cached read during %s", async (_what, kind, request) => {
      await using slow = await client("slow");
      await using fast = await client("fast");
      await checkRead(fast);
      await disk.hold(kind);
      slow.request(request);
      await disk.holds(kind);
      await checkRead(fast);
      expect(slow.available).toBe(0);
      await disk.release();
      expect(await succeeded(slow)).toBe(true);
    });

    test.each<[string, Held]>([
      ["stat", "getattr"],
      ["open", "open"],
    ])("does not delay another client's cached read during %s", async (_what, kind) => {
      await using fast = await client("fast");
      await disk.hold(kind);
      const opening = client("slow");
      await disk.holds(kind);
      await checkRead(fast);
      await disk.release();
      await using slow = await opening;
      expect(slow.over).toBe(false);
    });

    test("does not delay another client's cached read during close", async () => {
      await using fast = await client("fast");
      const slow = await client("slow");
      await disk.hold("flush");
      await slow[Symbol.asyncDispose]();
      await disk.holds("flush");
      await checkRead(fast);
      await disk.release();
    });

    test("leaves threads to other files during more requests than threads", async () => {
      await using slow = await client("slow");
      await using other = await client("other");
      await disk.hold("write");
      for (let i = 0; i < 200; i++) slow.request({ ...written, offset: BigInt(4096 * i) });
      await disk.holds("write");
      // A flush needs a thread.
      other.request({ type: FLUSH });
      expect(await succeeded(other)).toBe(true);
      await disk.release();
      for (let i = 0; i < 200; i++) expect(await succeeded(slow)).toBe(true);
    });

    test("completes the write of a client that has disconnected", async () => {
      await using fast = await client("fast");
      const slow = await client("slow");
      await disk.hold("write");
      slow.request({ ...written, payload: new Uint8Array(4096).fill(0x77) });
      await disk.holds("write");
      await slow[Symbol.asyncDispose]();
      await checkRead(fast);
      await disk.release();
      await using again = await client("slow");
      const { data: now } = await again.askChunk({ type: READ, ...block });
      expect(now.subarray(8)).toEqual(new Uint8Array(4096).fill(0x77));
    });

    test("is logged with its request when --shutdown-timeout ends the server", async () => {
      const path = join(disk.mounted, "slow");
      await using ending = await serve(["--shutdown-timeout=100ms", "file", path]);
      const { client: slow } = await NbdClient.ready({ unix: ending.socket });
      await disk.hold("write");
      slow.request(written);
      await disk.holds("write");
      ending.process.kill("SIGTERM");
      await ending.printed(/^nbdkit: error: ending without waiting for layers/m);
      // A process that waits for FUSE cannot exit.
      await disk.release();
      const { code, stderr } = await ending.stop();
      expect(code).toBe(1);
      expect(stderr).toMatch(/file\[1\]: error: file: pwrite of 4096 bytes at 8192 has not been/);
    });
  },
);

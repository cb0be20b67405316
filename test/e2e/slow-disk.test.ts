/** A disk that does not answer delays only the requests that wait for it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { symlinkSync } from "node:fs";
import { join } from "node:path";

import { NbdClient, type RequestFields } from "#test/client";
import { serve, type Served } from "#test/server";

import { canHold, type Held, HeldDisk } from "./held-disk-fixture.ts";

const size = 1 << 20;
const data = new Uint8Array(size).fill(0x5a);

const READ = 0;
const WRITE = 1;
const FLUSH = 3;
const TRIM = 4;
const WRITE_ZEROES = 6;
const BLOCK_STATUS = 7;
const FUA = 1;

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

    /** Another client reads 4 KiB that are in the page cache. */
    async function reads(fast: NbdClient): Promise<void> {
      const reply = await fast.askChunk({ type: READ, offset: 4096n, count: 4096 });
      expect(reply.type).toBe(1);
      expect(reply.data.subarray(8)).toEqual(data.subarray(0, 4096));
    }

    /** Whether the next reply, of either kind, tells no error. */
    async function succeeded(from: NbdClient): Promise<boolean> {
      if (await from.structuredIsNext()) return (await from.chunk()).type >> 15 === 0;
      return (await from.reply()).error === 0;
    }

    test.each<[string, Held, RequestFields]>([
      ["a write", "write", written],
      ["a write of a part of a block", "write", { ...written, offset: 100n }],
      ["a write with FUA", "fsync", { ...written, flags: FUA }],
      ["a trim", "fallocate", { type: TRIM, ...block }],
      ["a zero", "fallocate", { type: WRITE_ZEROES, ...block }],
      ["a block status", "lseek", { type: BLOCK_STATUS, ...block }],
      ["a flush", "fsync", { type: FLUSH }],
      ["an uncached read", "read", { type: READ, offset: 0n, count: 4096 }],
      ["a large uncached read", "read", { type: READ, offset: 65536n, count: 512 << 10 }],
    ])("%s does not hold another client's cached read", async (_what, kind, request) => {
      await using slow = await client("slow");
      await using fast = await client("fast");
      await reads(fast);
      await disk.hold(kind);
      slow.request(request);
      await disk.holds(kind);
      await reads(fast);
      expect(slow.available).toBe(0);
      await disk.release();
      expect(await succeeded(slow)).toBe(true);
    });

    test.each<[string, Held]>([
      ["looked at", "getattr"],
      ["opened", "open"],
    ])("a file that is being %s for a client does not hold another's read", async (_what, kind) => {
      await using fast = await client("fast");
      await disk.hold(kind);
      const opening = client("slow");
      await disk.holds(kind);
      await reads(fast);
      await disk.release();
      await using slow = await opening;
      expect(slow.over).toBe(false);
    });

    test("a file that is being closed does not hold another client's read", async () => {
      await using fast = await client("fast");
      const slow = await client("slow");
      await disk.hold("flush");
      await slow[Symbol.asyncDispose]();
      await disk.holds("flush");
      await reads(fast);
      await disk.release();
    });

    test("more requests than there are threads for them leave threads to others", async () => {
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

    test("a client that leaves while its write is held takes nothing with it", async () => {
      await using fast = await client("fast");
      const slow = await client("slow");
      await disk.hold("write");
      slow.request({ ...written, payload: new Uint8Array(4096).fill(0x77) });
      await disk.holds("write");
      await slow[Symbol.asyncDispose]();
      await reads(fast);
      await disk.release();
      await using again = await client("slow");
      const { data: now } = await again.askChunk({ type: READ, ...block });
      expect(now.subarray(8)).toEqual(new Uint8Array(4096).fill(0x77));
    });

    test("a server that waits for such a disk for too long names the request and ends", async () => {
      const path = join(disk.mounted, "slow");
      await using ending = await serve(["--shutdown-timeout=100ms", "file", path]);
      const { client: slow } = await NbdClient.ready({ unix: ending.socket });
      await disk.hold("write");
      slow.request(written);
      await disk.holds("write");
      ending.process.kill("SIGTERM");
      await ending.printed(/^nbdkit: error: ending without waiting for layers/m);
      // The kernel lets no process go that waits for an answer of FUSE.
      await disk.release();
      const { code, stderr } = await ending.stop();
      expect(code).toBe(1);
      expect(stderr).toMatch(
        /file\[1\]: error: plugin file: pwrite of 4096 bytes at 8192 has not been/,
      );
    });
  },
);

/** A disk that fails once: the client gets the error through all layers, and no request is repeated. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";

import { chunkError, NbdClient, type RequestFields } from "#test/client";
import { compileModule } from "#test/modules";
import { installed, program, serve } from "#test/server";

import {
  CMD_BLOCK_STATUS as BLOCK_STATUS,
  CMD_FLUSH as FLUSH,
  CMD_READ as READ,
  CMD_TRIM as TRIM,
  CMD_WRITE as WRITE,
  CMD_WRITE_ZEROES as WRITE_ZEROES,
} from "../../src/protocol/constants.ts";
import { canHold, type Held, HeldDisk } from "./held-disk-fixture.ts";

const size = 8 << 20;
const data = new Uint8Array(size).fill(0x5a);

const EIO = 5;

describe.skipIf(!canHold || !installed("nbdkit"))(
  "a failing disk (needs root, cc, fuse3, libfuse3-dev, nbdkit)",
  () => {
    let disk: HeldDisk;
    let passing = "";
    beforeAll(async () => {
      disk = await HeldDisk.mount({ disk: data, direct: data });
      passing = await compileModule("test/fixtures/any-release.c", {
        defines: { NBDKIT_FILTER_RELEASE: "NBDKIT_FILTER_RELEASE_1_44" },
      });
    }, 60_000);
    afterAll(async () => {
      await disk?.[Symbol.asyncDispose]();
    });

    const blocksize = "--filter=native:blocksize";
    const chains: Readonly<Record<string, () => readonly string[]>> = {
      file: () => ["file"],
      "C over file": () => [`--filter=${passing}`, "file"],
      "C over C over file": () => [`--filter=${passing}`, `--filter=${passing}`, "file"],
      "blocksize over file": () => [blocksize, "file"],
      "offset over blocksize over file": () => ["--filter=offset", blocksize, "file"],
      "C over blocksize over file": () => [`--filter=${passing}`, blocksize, "file"],
      "C over C": () => [`--filter=${passing}`, "native:file"],
    };

    /** Sends the request three times, so that caches fill, then once with a failure, and once more. */
    async function errors(
      command: readonly string[],
      args: readonly string[],
      kind: Held,
      request: (round: number) => RequestFields,
    ): Promise<readonly number[]> {
      await using server = await serve(
        [...args, join(disk.mounted, kind === "read" ? "direct" : "disk")],
        { program: command },
      );
      await using client = (await NbdClient.structured({ unix: server.socket })).client;
      const seen: number[] = [];
      for (let round = 0; round < 5; round++) {
        if (round === 3) await disk.fail(kind);
        client.request(request(round));
        if (round === 3) await disk.failed(kind);
        seen.push(await errorOf(client));
      }
      client.request({ type: 2 });
      await client.closed;
      return seen;
    }

    async function errorOf(client: NbdClient): Promise<number> {
      if (!(await client.structuredIsNext())) return (await client.reply()).error;
      const { data: body, type } = await client.chunk();
      return type >> 15 === 0 ? 0 : new DataView(body.buffer, body.byteOffset).getUint32(0);
    }

    const requests: readonly (readonly [string, Held, (round: number) => RequestFields])[] = [
      [
        "a read",
        "read",
        (round) => ({ type: READ, offset: BigInt(round + 1) << 20n, count: 4096 }),
      ],
      [
        "a large read",
        "read",
        (round) => ({ type: READ, offset: BigInt(round + 1) << 20n, count: 256 << 10 }),
      ],
      [
        "a write",
        "write",
        (round) => ({ type: WRITE, offset: BigInt(round) << 16n, payload: new Uint8Array(4096) }),
      ],
      ["a flush", "fsync", () => ({ type: FLUSH })],
      [
        "a trim",
        "fallocate",
        (round) => ({ type: TRIM, offset: BigInt(round) << 16n, count: 4096 }),
      ],
      [
        "a zero",
        "fallocate",
        (round) => ({ type: WRITE_ZEROES, offset: BigInt(round) << 16n, count: 4096 }),
      ],
      [
        "a block status",
        "lseek",
        (round) => ({ type: BLOCK_STATUS, offset: BigInt(round) << 16n, count: 4096 }),
      ],
    ];

    const rows = Object.keys(chains).flatMap((chain) =>
      requests.map(([what, kind, request]) => ({ chain, what, kind, request })),
    );
    test.each(rows)("fails $what once in $chain", async ({ chain, kind, request }) => {
      const args = chains[chain]?.() ?? [];
      expect(await errors(program, args, kind, request)).toEqual([0, 0, 0, EIO, 0]);
    });

    test("is named in the log and in the client's error message", async () => {
      const file = join(disk.mounted, "disk");
      await using server = await serve([blocksize, "file", file]);
      await using client = (await NbdClient.structured({ unix: server.socket })).client;
      const write = { type: WRITE, offset: 8192n, payload: new Uint8Array(4096) };
      for (let round = 0; round < 3; round++) expect((await client.ask(write)).error).toBe(0);
      await disk.fail("write");
      const words = `${file}: writing 4096 bytes at 8192: Input/output error`;
      expect(chunkError(await client.askChunk(write))).toMatchObject({ error: EIO, text: words });
      expect((await client.ask(write)).error).toBe(0);
      client.terminate();
      const { stderr } = await server.stop();
      expect(stderr.split("\n").filter((line) => line.includes("error: "))).toEqual([
        `nbdkit: file[1]: error: ${words}`,
      ]);
    });

    test.each(requests)("fails %s once in nbdkit", async (_what, kind, request) => {
      const args = ["--filter=blocksize", "file"];
      expect(await errors(["nbdkit"], args, kind, request)).toEqual([0, 0, 0, EIO, 0]);
    });
  },
);

/** nbdkit's modules in this server: the extents of plugins, and the end of requests that sleep in a filter. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, openSync, rmSync, truncateSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { needing, serve, type Served, until } from "#test/server";

import { outputOf } from "./output-fixture.ts";

const { skip, needs } = needing("cc", "nbdkit", "nbdinfo", "qemu-img");
const ESHUTDOWN = 108;
const size = 16 << 20;

let folder = "";
let image = "";

/** A sparse file with some data. */
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-e2e-"));
  image = join(folder, "image.raw");
  const file = openSync(image, "w");
  for (const at of [0, 3 << 20, (3 << 20) + 65536, 9 << 20]) {
    writeSync(file, new Uint8Array(65536).fill(7), 0, 65536, at);
  }
  truncateSync(image, size);
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe.skipIf(skip)(`the server with nbdkit's modules${needs}`, () => {
  test.each([
    { filters: "", parts: 6 },
    { filters: "cow", parts: 6 },
    { filters: "offset", parameters: ["offset=65536"], parts: 5 },
    { filters: "noextents cow", parts: 1 },
  ])(
    "reports the same extents of a sparse file as nbdkit, below [$filters]",
    async ({ filters, parameters, parts }) => {
      const layers = (native: string) =>
        filters.split(" ").flatMap((name) => (name === "" ? [] : [`--filter=${native}${name}`]));
      const last = [image, ...(parameters ?? [])];
      await using ours = await serve([...layers("native:"), "native:file", ...last]);
      await using genuine = await serve([...layers(""), "file", ...last], { program: ["nbdkit"] });
      const maps = async ({ uri }: Served) => [
        await outputOf(["nbdinfo", "--map", uri]),
        await outputOf(["nbdinfo", "--map", "--totals", uri]),
        await outputOf(["qemu-img", "map", "--output=json", uri]),
      ];
      const found = await maps(ours);
      expect(found).toEqual(await maps(genuine));
      expect(found[0]?.trim().split("\n")).toHaveLength(parts);
    },
  );

  test.each(["cache", "cow", "cow cache", "cache cow"])(
    "reads data that was written above [%s], whatever the extents are",
    async (filters) => {
      const layers = filters.split(" ").map((name) => `--filter=native:${name}`);
      await using ours = await serve([...layers, "native:memory", "4M"]);
      const steps = ["write -P 7 0 128k", "read -P 7 0 128k", "read -P 0 1M 1M"];
      const output = await outputOf([
        ...["qemu-io", "-f", "raw", ...steps.flatMap((step) => ["-c", step]), ours.uri],
      ]);
      expect(output).not.toContain("verification failed");
    },
  );

  test("reports the same block status as nbdkit after writes", async () => {
    const statuses = async (server: Served): Promise<unknown[]> => {
      await using client = (await NbdClient.structured({ unix: server.socket })).client;
      for (const at of [0, 40960, 1 << 20, (2 << 20) - 1]) {
        await client.ask({ type: 1, offset: BigInt(at), payload: new Uint8Array([1]) });
      }
      await client.ask({ type: 4, offset: 0n, count: 32768 });
      const seen: unknown[] = [];
      for (const [offset, count] of [
        [0, 1],
        [0, 2 << 20],
        [32767, 2],
        [32768, 32768],
        [100, 1 << 20],
        [(2 << 20) - 1, 1],
      ] as const) {
        for (const flags of [0, 8])
          seen.push(await client.blockStatus(BigInt(offset), count, flags));
      }
      return seen;
    };
    await using ours = await serve(["native:memory", "2M"]);
    await using genuine = await serve(["memory", "2M"], { program: ["nbdkit"] });
    expect(await statuses(ours)).toEqual(await statuses(genuine));
  });

  describe.each(["native:delay", "delay"])("fails a request that sleeps in %s", (filter) => {
    test("with ESHUTDOWN when it stops, and exits normally", async () => {
      const server = await serve(["-v", `--filter=${filter}`, "null", "1M", "rdelay=3600"]);
      await using client = (await NbdClient.ready({ unix: server.socket })).client;
      client.request({ type: 0, count: 512 });
      await server.printed(/debug: delay: pread/);
      const { code } = await server.stop();
      expect(code).toBe(0);
      expect((await client.reply()).error).toBe(ESHUTDOWN);
    });

    test.each(["DISC", "FIN", "RST"])("when its client disconnects by %s", async (how) => {
      await using server = await serve(["-v", `--filter=${filter}`, "null", "1M", "rdelay=3600"]);
      await using client = (await NbdClient.ready({ unix: server.socket })).client;
      client.request({ type: 0, count: 512 });
      await server.printed(/debug: delay: pread/);
      if (how === "DISC") client.request({ type: 2 });
      else if (how === "FIN") client.shutdown();
      else client.terminate();
      await server.printed(/debug: null: close/);
      await until(() => client.over);
    });
  });
});

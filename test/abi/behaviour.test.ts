/** What C modules may do in their callbacks: sleep, start threads, read during writes, fail, print, parse. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type Errno, NbdError } from "#api";
import { errnoOf } from "#test/chain";
import { NbdClient } from "#test/client";
import { compileModule, type CompileOptions, haveCompiler } from "#test/modules";
import { nativeLayer, nativeStack } from "#test/native";
import { program, run, serve } from "#test/server";

import type { ChainConnection } from "../../src/chain/chain.ts";

const fixture = async (name: string, defines: CompileOptions["defines"] = {}) =>
  await compileModule(`test/fixtures/${name}.c`, { defines });
const filter = async (name: string, defines?: CompileOptions["defines"]) =>
  nativeLayer("filter", await fixture(name, defines));
const nbdkit1_2 = { THREAD_MODEL: "NBDKIT_THREAD_MODEL_PARALLEL" };

async function read({ top }: ChainConnection, count = 512, offset = 0n): Promise<Uint8Array> {
  const buf = new Uint8Array(count);
  await top.pread(buf, offset, 0);
  return buf;
}

describe.skipIf(!haveCompiler)("C modules (needs cc)", () => {
  describe("that block", () => {
    test("run 16 requests of one connection at once", async () => {
      // Each read waits until 16 are running. With fewer threads they would time out.
      await using stack = await nativeStack([await filter("slow")], { meet: "16" });
      const connection = await stack.connect();
      const reads = await Promise.all(Array.from({ length: 64 }, () => read(connection)));
      expect(reads.every((buf) => Buffer.compare(buf, stack.disk.subarray(0, 512)) === 0)).toBe(
        true,
      );
    });

    test("still run 16 at once after thousands of requests", async () => {
      await using stack = await nativeStack([await filter("slow")], { meet: "16" });
      const connection = await stack.connect();
      for (let i = 0; i < 100; i++) {
        await Promise.all(Array.from({ length: 64 }, () => read(connection)));
      }
    });

    test("do not delay other requests of their connection", async () => {
      await using stack = await nativeStack([await filter("slow")], { meet: "0", others: "2000" });
      const connection = await stack.connect();
      const first = read(connection);
      for (let i = 0; i < 250; i++) {
        await Promise.all(Array.from({ length: 8 }, () => read(connection)));
      }
      await first;
    });

    test("do not delay short calls that follow long ones", async () => {
      const released = nativeLayer("plugin", await fixture("released"), { threads: 2 });
      await using stack = await nativeStack([], {}, { plugin: released });
      const connection = await stack.connect();
      const sleep = (ms: number) => read(connection, 1, 4096n + BigInt(ms));
      for (let i = 0; i < 10; i++) await sleep(2);
      // The second thread sleeps until all calls wait. Then it runs the short ones, until calls are short on average.
      const waits = read(connection, 1, 512n);
      const sleeps = sleep(100);
      const short = Array.from({ length: 2000 }, () => read(connection, 1, 0n));
      await Promise.all([waits, sleeps, ...short, read(connection, 1, 1024n)]);
    });

    test("do not delay another client while 16 requests sleep", async () => {
      const slow = await fixture("slow", { THREAD_MODEL: "NBDKIT_THREAD_MODEL_PARALLEL" });
      await using server = await serve([`--filter=${slow}`, "memory", "1M", "sleep-ms=300"]);
      const { client: sleeper } = await NbdClient.ready({ unix: server.socket });
      const { client: other } = await NbdClient.ready({ unix: server.socket });
      const order: string[] = [];
      for (let i = 0; i < 16; i++)
        sleeper.request({ type: 0, offset: 0n, count: 512, cookie: BigInt(i) });
      const answered = sleeper.reply().then(() => order.push("sleeper"));
      // The filter does not delay writes, so this one ends long before the sleepers wake.
      await other.ask({ type: 1, offset: 0n, count: 4, payload: new Uint8Array(4) });
      order.push("other");
      await answered;
      expect(order).toEqual(["other", "sleeper"]);
      sleeper.terminate();
      other.terminate();
    });

    test("run no more requests of one connection at once than -t allows", async () => {
      const slow = nativeLayer("filter", await fixture("slow", nbdkit1_2), { threads: 3 });
      const texts = { meet: "3", "at-most": "3", "sleep-ms": "5" };
      await using stack = await nativeStack([slow], texts);
      const connection = await stack.connect();
      await Promise.all(Array.from({ length: 9 }, () => read(connection)));
    });
  });

  test("may call the layer below from a thread of their own", async () => {
    for (const defines of [{}, nbdkit1_2]) {
      await using stack = await nativeStack(
        [await filter("background", defines)],
        { "background-piece": "1000" },
        { later: true },
      );
      const connection = await stack.connect();
      expect(await read(connection)).toEqual(stack.disk.slice(0, 512));
      await connection.close();
      const bytes = stack.calls
        .filter((call) => call.startsWith("pread 1000") || call.startsWith("pread 536"))
        .reduce((sum, call) => sum + Number(call.split(" ")[1]), 0);
      expect(bytes).toBe(65536);
    }
  });

  test("may start a thread for each of many connections", async () => {
    await using stack = await nativeStack([await filter("background")], {}, { later: true });
    for (let round = 0; round < 5; round++) {
      const open = await Promise.all(Array.from({ length: 20 }, () => stack.connect()));
      await Promise.all(open.map((connection) => connection.close()));
    }
  });

  test("may read the layer below during a write while they hold a mutex", async () => {
    await using stack = await nativeStack([await filter("rmw")], {}, { later: true });
    const { top } = await stack.connect();
    const model = stack.disk.slice();
    await Promise.all(
      Array.from({ length: 100 }, async (_, i) => {
        const data = new Uint8Array(100).fill(i);
        model.set(data, i * 100);
        await top.pwrite(data, BigInt(i * 100), 0);
      }),
    );
    expect(stack.disk).toEqual(model);
    expect(new Set(stack.calls.map((call) => Number(call.split(" ")[2]) % 512))).toEqual(
      new Set([0]),
    );
  });

  test("may read the disk in prepare and write to it in finalize", async () => {
    await using stack = await nativeStack([await filter("superblock")], {}, { later: true });
    const connection = await stack.connect();
    expect(await connection.top.getSize()).toBe(65024n);
    stack.calls.length = 0;
    await connection.close();
    expect(stack.calls).toEqual(["pwrite 512 65024"]);
    expect(stack.disk.subarray(65024)).toEqual(stack.disk.subarray(0, 512));
    const reader = await stack.connect(true);
    stack.calls.length = 0;
    await reader.close();
    expect(stack.calls).toEqual([]);
  });

  describe("that fail", () => {
    const errnos: readonly Errno[] = [
      "EPERM",
      "EIO",
      "EACCES",
      "ENOMEM",
      "EINVAL",
      "EFBIG",
      "ENOSPC",
      "EROFS",
      "EDQUOT",
      "EOVERFLOW",
      "ESHUTDOWN",
    ];
    for (const how of ["errno", "set_error", "both"]) {
      test.each(errnos)(`report %s by ${how}`, async (errno) => {
        await using stack = await nativeStack([await filter("failing-filter")], {
          "fail-in": "pread",
          "fail-with": errno,
          "fail-how": how,
        });
        const connection = await stack.connect();
        expect(await errnoOf(() => read(connection))).toBe(errno);
        expect(await errnoOf(() => connection.top.pwrite(new Uint8Array(1), 0n, 0))).toBe(
          "no error",
        );
      });
    }

    test("report EINVAL for an unknown error number, as in nbdkit", async () => {
      await using stack = await nativeStack([await filter("failing-filter")], {
        "fail-in": "pread",
        "fail-with": "1000",
      });
      const connection = await stack.connect();
      expect(await errnoOf(() => read(connection))).toBe("EINVAL");
    });

    test.each([
      { preserved: 1, how: "errno", errno: "EDQUOT" },
      { preserved: 0, how: "errno", errno: "EIO" },
      { preserved: 0, how: "set_error", errno: "EDQUOT" },
      { preserved: 1, how: "both", errno: "EDQUOT" },
      { preserved: 1, how: "nothing", errno: "EIO" },
    ])(
      "by $how with errno_is_preserved=$preserved report $errno",
      async ({ preserved, how, errno }) => {
        const path = await fixture("failing-plugin", { ERRNO_IS_PRESERVED: preserved });
        await using stack = await nativeStack(
          [],
          { "fail-in": "pread", "fail-with": "EDQUOT", "fail-how": how },
          { plugin: nativeLayer("plugin", path) },
        );
        const connection = await stack.connect();
        expect(await errnoOf(() => read(connection))).toBe(errno);
      },
    );
  });

  test("may hide or replace an error of the layer below", async () => {
    let failures = 0;
    const fail = (call: string) => {
      if (call.startsWith("pwrite")) throw new NbdError("EIO", "");
      if (call.startsWith("pread") && failures++ === 0) throw new NbdError("EIO", "");
    };
    await using stack = await nativeStack([await filter("second-try")], {}, { fail });
    const connection = await stack.connect();
    expect(await read(connection, 10)).toEqual(stack.disk.slice(0, 10));
    const { top } = connection;
    expect(await errnoOf(() => top.pwrite(new Uint8Array(1), 0n, 0))).toBe("ENOSPC");
  });

  test("may use %m in messages, which do not change errno", async () => {
    await using server = await serve([
      "-v",
      `--filter=${await fixture("messages")}`,
      "memory",
      "1M",
    ]);
    const { client } = await NbdClient.ready({ unix: server.socket });
    expect((await client.ask({ type: 0, offset: 0n, count: 16 })).error).toBe(0);
    client.terminate();
    const { stderr } = await server.stop();
    const name = String.raw`nbdkit: memory\[1\]: `;
    for (const line of [
      `${name}error: error of %m: No space left on device`,
      `${name}debug: debug of %m: No space left on device, 42%, text, 0.500`,
      `${name}error: list of %m: No space left on device, 18446744073709551615 and text`,
      `${name}debug: list of %m: No space left on device, 18446744073709551615 and text`,
      `${name}error: x{4999}`,
      `${name}error: `,
    ]) {
      expect(stderr).toMatch(new RegExp(`^${line}$`, "m"));
    }
  });

  test("get nbdkit's answers from the parsing functions", async () => {
    const folder = mkdtempSync(join(tmpdir(), "nbdkit-parsing-"));
    try {
      const parsing = await fixture("parsing");
      const asks: readonly (readonly [string, string])[] = [
        ["parse-bool=TRUE", "1"],
        ["parse-bool=n", "0"],
        ["parse-bool=maybe", "-1"],
        ["absolute-path=/x/y", "/x/y"],
        ["absolute-path=x", `${folder}/x`],
        ["absolute-path=", "NULL"],
        ["realpath=.", folder],
        ["realpath=gone", "NULL"],
      ];
      const words = asks.map(([ask]) => ask);
      const { code, stderr } = await run(
        [...program, "-v", "-U", "-", "--run", "true", `--filter=${parsing}`, "null", ...words],
        { cwd: folder },
      );
      expect(code).toBe(0);
      const results = [...stderr.matchAll(/debug: (\S+=.*) -> (.*)$/gm)].map((it) => [
        it[1],
        it[2],
      ]);
      expect(results).toEqual(asks.map(([ask, answer]) => [ask, answer]));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("of two releases in one chain are called in nbdkit's order", async () => {
    const folder = mkdtempSync(join(tmpdir(), "nbdkit-order-"));
    try {
      const old = await fixture("order", { NAME: '"s"' });
      const newer = await fixture("order", { NAME: '"a"', ...nbdkit1_2 });
      const file = join(folder, "order");
      const args = [
        `--filter=${old}`,
        `--filter=${newer}`,
        "memory",
        "64k",
        `order-file=${file}`,
        `order-file=${file}`,
      ];
      {
        await using server = await serve(args);
        const { client } = await NbdClient.ready({ unix: server.socket });
        await client.ask({ type: 0, offset: 0n, count: 512 });
        await client.ask({ type: 1, offset: 0n, count: 4, payload: new Uint8Array(4) });
        await client.ask({ type: 3 });
        client.request({ type: 2 });
        client.terminate();
        await server.stop();
      }
      const lines = readFileSync(file, "utf8").trim().split("\n");
      const each = (...calls: string[]) => calls.flatMap((call) => [`s ${call}`, `a ${call}`]);
      expect(lines).toEqual([
        ...["s load", "s config_complete", "a load", "a config_complete"],
        ...each("open readonly=0"),
        ...["a prepare", "s prepare"],
        ...each("get_size", "can_write", "can_trim", "can_flush", "is_rotational"),
        ...each("pread 512 0", "pwrite 4 0", "flush", "finalize", "close"),
        ...["a unload", "s unload"],
      ]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

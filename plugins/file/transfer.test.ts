/** Reads and writes of whole ranges, even if the kernel transfers only part of them. */
import { describe, expect, test } from "bun:test";

import { errnoOf } from "#test/chain";

import { failing, fakeFile, inMemory, remote } from "./open-file-fixture.ts";
import { Pace } from "./pace.ts";
import { readFully, writeFully } from "./transfer.ts";

const buf = () => new Uint8Array(100);
const large = () => new Uint8Array((1 << 20) + 1);

describe("reading", () => {
  test("completes at once if the data is in memory", () => {
    const { file, recorded } = fakeFile();
    expect(readFully(file, buf(), 7n)).toBeUndefined();
    expect(recorded).toEqual(["preadNow 100 7"]);
  });

  test.each([
    ["nothing", -1, "preadPooled 100 7"],
    ["nothing, as 0 bytes in Linux 5.9", 0, "preadPooled 100 7"],
    ["the first part", 60, "preadPooled 40 67"],
  ])("reads the rest on another thread after %s", async (_what, count, rest) => {
    const { file, recorded } = fakeFile({ preadNow: () => count });
    await readFully(file, buf(), 7n);
    expect(recorded).toEqual(["preadNow 100 7", rest]);
  });

  test("continues after short reads", async () => {
    const { file, recorded } = fakeFile({
      preadNow: () => -1,
      preadPooled: () => Promise.resolve(50),
    });
    await readFully(file, buf(), 0n);
    expect(recorded).toEqual(["preadNow 100 0", "preadPooled 100 0", "preadPooled 50 50"]);
  });

  test("uses another thread once RWF_NOWAIT is not supported", async () => {
    const { file, recorded } = fakeFile({ preadNow: failing("EOPNOTSUPP") });
    await readFully(file, buf(), 0n);
    await readFully(file, buf(), 100n);
    expect(recorded).toEqual(["preadNow 100 0", "preadPooled 100 0", "preadPooled 100 100"]);
  });

  test("avoids Bun's few threads while a read hangs there, and if a disk is slow", async () => {
    let now = 0;
    const first = Promise.withResolvers<number>();
    const preadPooled = (part: Uint8Array, at: bigint) => (at === 0n ? first.promise : part.length);
    const pace = new Pace("disk", () => now);
    const { file, recorded } = fakeFile({ preadNow: () => -1, preadPooled }, { pace });
    const hanging = readFully(file, buf(), 0n);
    await readFully(file, buf(), 100n);
    now += 51;
    await readFully(file, buf(), 200n);
    first.resolve(100);
    await hanging;
    await readFully(file, buf(), 300n);
    now += 5000;
    await readFully(file, buf(), 400n);
    expect(recorded.filter((it) => !it.startsWith("preadNow"))).toEqual([
      "preadPooled 100 0",
      "preadPooled 100 100",
      "pread 100 200",
      "pread 100 300",
      "preadPooled 100 400",
    ]);
  });

  test("reads at once without RWF_NOWAIT if the file system is in memory", () => {
    const fakes = { preadNow: failing("EOPNOTSUPP"), preadSync: () => 50 };
    const { file, recorded } = fakeFile(fakes, inMemory);
    expect(readFully(file, buf(), 0n)).toBeUndefined();
    expect(readFully(file, new Uint8Array(50), 0n)).toBeUndefined();
    expect(recorded).toEqual([
      "preadNow 100 0",
      "preadSync 100 0",
      "preadSync 50 50",
      "preadSync 50 0",
    ]);
  });

  test("reads large ranges on another thread", async () => {
    const { file, recorded } = fakeFile();
    await readFully(file, large(), 0n);
    expect(recorded).toEqual(["pread 1048577 0"]);
  });

  test.each(["preadNow", "preadPooled", "preadSync"] as const)(
    "fails with the error of %s",
    async (call) => {
      const way = call === "preadSync" ? failing("EOPNOTSUPP") : () => -1;
      const where = call === "preadSync" ? inMemory : {};
      const { file } = fakeFile({ preadNow: way, [call]: failing("ENOMEDIUM") }, where);
      expect(await errnoOf(() => readFully(file, buf(), 0n))).toBe("ENOMEDIUM");
    },
  );
});

test("clients get EIO for EAGAIN of the file system", async () => {
  const fails = failing("EAGAIN");
  const { file: reads } = fakeFile({ preadNow: () => -1, preadPooled: fails });
  expect(await errnoOf(() => readFully(reads, buf(), 0n))).toBe("EIO");
  const { file: writes } = fakeFile({ pwriteSync: fails });
  expect(await errnoOf(() => writeFully(writes, buf(), 0n))).toBe("EIO");
  const { file: remoteWrites } = fakeFile({ pwrite: fails }, remote);
  expect(await errnoOf(() => writeFully(remoteWrites, buf(), 0n))).toBe("EIO");
});

describe("writing", () => {
  test("continues after short writes", () => {
    const { file, recorded } = fakeFile({ pwriteSync: () => 50 }, inMemory);
    expect(writeFully(file, buf(), 7n)).toBeUndefined();
    expect(recorded).toEqual(["pwriteSync 100 7", "pwriteSync 50 57"]);
  });

  const block = () => new Uint8Array(4096);

  test("writes whole blocks of a disk at once", () => {
    const { file, recorded } = fakeFile();
    expect(writeFully(file, block(), 8192n)).toBeUndefined();
    expect(recorded).toEqual(["pwriteSync 4096 8192"]);
  });

  test.each([
    ["the first block", 100n, ["preadNow 1 100"]],
    ["the last block", 8192n, ["preadNow 1 8291"]],
  ])("uses another thread if %s must be read first", async (_what, at, asked) => {
    const { file, recorded } = fakeFile({ preadNow: () => -1 });
    await writeFully(file, buf(), at);
    expect(recorded).toEqual([...asked, `pwrite 100 ${at}`]);
  });

  test("writes part of a block at once if the block is in memory", () => {
    const { file, recorded } = fakeFile();
    expect(writeFully(file, buf(), 100n)).toBeUndefined();
    expect(recorded).toEqual(["preadNow 1 100", "preadNow 1 199", "pwriteSync 100 100"]);
  });

  test("uses another thread if the file system may wait", async () => {
    const { file, recorded } = fakeFile({}, remote);
    await writeFully(file, block(), 8192n);
    expect(recorded).toEqual(["pwrite 4096 8192"]);
  });

  test("uses another thread for a while after the disk was slow", async () => {
    let now = 0;
    let takes = 60;
    const pwriteSync = (part: Uint8Array) => {
      now += takes;
      return part.length;
    };
    const { file, recorded } = fakeFile({ pwriteSync }, { pace: new Pace("disk", () => now) });
    expect(writeFully(file, block(), 0n)).toBeUndefined();
    takes = 0;
    await writeFully(file, block(), 4096n);
    now += 5000;
    expect(writeFully(file, block(), 8192n)).toBeUndefined();
    expect(recorded).toEqual(["pwriteSync 4096 0", "pwrite 4096 4096", "pwriteSync 4096 8192"]);
  });

  test("continues to use another thread as long as the disk is slow", async () => {
    let now = 0;
    const pwrite = (part: Uint8Array) => {
      now += 60;
      return part.length;
    };
    const pwriteSync = (part: Uint8Array) => pwrite(part);
    const { file, recorded } = fakeFile(
      { pwrite, pwriteSync },
      { pace: new Pace("disk", () => now) },
    );
    expect(writeFully(file, block(), 0n)).toBeUndefined();
    for (let i = 0; i < 3; i++) {
      now += 4900;
      await writeFully(file, block(), 0n);
    }
    expect(recorded.slice(1)).toEqual(Array.from({ length: 3 }, () => "pwrite 4096 0"));
  });

  test("waits only for an outstanding write of the same range", async () => {
    const first = Promise.withResolvers<number>();
    const pwrite = (part: Uint8Array, at: bigint) => (at === 0n ? first.promise : part.length);
    const { file, recorded } = fakeFile({ pwrite });
    const both = [writeFully(file, large(), 0n), writeFully(file, block(), 1n << 20n)];
    expect(writeFully(file, block(), 2n << 20n)).toBeUndefined();
    expect(recorded).toEqual(["pwrite 1048577 0", "pwriteSync 4096 2097152"]);
    first.resolve(large().length);
    await Promise.all(both);
    expect(recorded[2]).toBe("pwrite 4096 1048576");
  });

  test("writes large ranges on another thread, and continues after short writes", async () => {
    const { file, recorded } = fakeFile({
      pwrite: (part: Uint8Array) => Promise.resolve(Math.min(part.length, 1 << 20)),
    });
    await writeFully(file, large(), 0n);
    expect(recorded).toEqual(["pwrite 1048577 0", "pwrite 1 1048576"]);
  });

  test("reports ENOSPC after a short write", async () => {
    let first = true;
    const { file } = fakeFile({
      pwriteSync: () => {
        if (!first) failing("ENOSPC")();
        first = false;
        return 50;
      },
    });
    expect(await errnoOf(() => writeFully(file, buf(), 0n))).toBe("ENOSPC");
  });

  test("does not retry forever if writes return 0", async () => {
    let first = true;
    const { file } = fakeFile({
      pwriteSync: () => {
        const count = first ? 1 : 0;
        first = false;
        return count;
      },
    });
    expect(await errnoOf(() => writeFully(file, buf(), 0n))).toBe("EIO");
  });
});

/** How ranges are read and written when the kernel gives or takes less than all. */
import { describe, expect, test } from "bun:test";

import { errnoOf } from "#test/chain";

import { failing, fakeFile } from "./open-file-fixture.ts";
import { readFully, writeFully } from "./transfer.ts";

const buf = () => new Uint8Array(100);
const large = () => new Uint8Array((1 << 20) + 1);

describe("reading", () => {
  test("answers at once what is in memory", () => {
    const { file, said } = fakeFile();
    expect(readFully(file, buf(), 7n)).toBeUndefined();
    expect(said).toEqual(["preadNow 100 7"]);
  });

  test.each([
    ["nothing", -1, "pread 100 7"],
    ["an empty answer of Linux 5.9", 0, "pread 100 7"],
    ["the first part", 60, "pread 40 67"],
  ])("fetches the rest on another thread: %s", async (_what, count, rest) => {
    const { file, said } = fakeFile({ preadNow: () => count });
    await readFully(file, buf(), 7n);
    expect(said).toEqual(["preadNow 100 7", rest]);
  });

  test("goes on after short reads", async () => {
    const { file, said } = fakeFile({ preadNow: () => -1, pread: () => Promise.resolve(50) });
    await readFully(file, buf(), 0n);
    expect(said).toEqual(["preadNow 100 0", "pread 100 0", "pread 50 50"]);
  });

  test("waits for the device where nothing can tell, and does not ask again", async () => {
    const { file, said } = fakeFile({ preadNow: failing("EOPNOTSUPP"), preadSync: () => 50 });
    expect(readFully(file, buf(), 0n)).toBeUndefined();
    expect(readFully(file, new Uint8Array(50), 0n)).toBeUndefined();
    expect(said).toEqual([
      "preadNow 100 0",
      "preadSync 100 0",
      "preadSync 50 50",
      "preadSync 50 0",
    ]);
  });

  test("moves large ranges on another thread", async () => {
    const { file, said } = fakeFile();
    await readFully(file, large(), 0n);
    expect(said).toEqual(["pread 1048577 0"]);
  });

  test.each(["preadNow", "pread", "preadSync"] as const)("keeps the error of %s", async (call) => {
    const way = call === "preadSync" ? failing("EOPNOTSUPP") : () => -1;
    const { file } = fakeFile({ preadNow: way, [call]: failing("ENOMEDIUM") });
    expect(await errnoOf(() => readFully(file, buf(), 0n))).toBe("ENOMEDIUM");
  });
});

describe("writing", () => {
  test("goes on after short writes", () => {
    const { file, said } = fakeFile({ pwriteSync: () => 50 });
    expect(writeFully(file, buf(), 7n)).toBeUndefined();
    expect(said).toEqual(["pwriteSync 100 7", "pwriteSync 50 57"]);
  });

  test("moves large ranges on another thread, and goes on after short writes", async () => {
    const { file, said } = fakeFile({
      pwrite: (part: Uint8Array) => Promise.resolve(Math.min(part.length, 1 << 20)),
    });
    await writeFully(file, large(), 0n);
    expect(said).toEqual(["pwrite 1048577 0", "pwrite 1 1048576"]);
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

  test("does not try for ever where nothing is taken", async () => {
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

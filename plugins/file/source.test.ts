/** The source of the disks: a file, or the files of a directory, by name or by descriptor. */
import { describe, expect, test } from "bun:test";
import { closeSync, mkdirSync, openSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { clientOf, configured, errnoOf, overPlugin } from "#test/chain";

import plugin from "./file.ts";
import { imageFolder, pattern, readFrom } from "./images-fixture.ts";

const { folder, fresh, image } = imageFolder();

describe("a directory", () => {
  /** Two images, a link to one of them, and entries that cannot be served. */
  function images(): string {
    const where = fresh("-dir");
    mkdirSync(join(where, "folder"), { recursive: true });
    writeFileSync(join(where, "b.img"), pattern(512));
    writeFileSync(join(where, "a image"), pattern(1024));
    symlinkSync("b.img", join(where, "link"));
    symlinkSync("missing", join(where, "nowhere"));
    expect(Bun.spawnSync(["mkfifo", join(where, "pipe")]).success).toBe(true);
    return where;
  }

  test("is served by export name", async () => {
    const dir = images();
    const chain = await configured(plugin, { dir });
    const list = await chain.listExports(clientOf(chain), false);
    expect(list.entries.map(({ name }) => name)).toEqual(["a image", "b.img", "link"]);
    for (const [exportName, size] of [
      ["a image", 1024n],
      ["b.img", 512n],
      ["link", 512n],
    ] as const) {
      await using stack = await overPlugin(plugin, { dir }, { exportName });
      expect(await stack.next.getSize()).toBe(size);
      expect(await readFrom(stack.next, 0n, 512)).toEqual(pattern(512));
    }
  });

  test.each([
    { name: "", message: 'default export ("") not permitted', errno: "EINVAL" },
    { name: "missing", message: "missing: No such file or directory", errno: "ENOENT" },
    { name: "folder", message: "folder is a directory", errno: "EINVAL" },
    { name: "..", message: "is a directory", errno: "EINVAL" },
    { name: "pipe", message: "pipe is a special file", errno: "EINVAL" },
    { name: "folder/../b.img", message: 'without "/"', errno: "EINVAL" },
    { name: "/etc/passwd", message: 'without "/"', errno: "EINVAL" },
  ])("has no export $name", async ({ name, message, errno }) => {
    const chain = await configured(plugin, { dir: images() });
    const opening = chain.connect(clientOf(chain)).open(false, name, false);
    const error: unknown = await opening.catch((it: unknown) => it);
    expect(error).toMatchObject({ errno, message: expect.stringContaining(message) });
  });

  test("has no export with a NUL in its name", async () => {
    const chain = await configured(plugin, { dir: images() });
    const opening = chain.connect(clientOf(chain)).open(false, "b.img\0", false);
    await expect(opening).rejects.toThrow("expected the name of a file");
  });

  test("fails the list of exports once it was removed", async () => {
    const dir = images();
    const chain = await configured(plugin, { dir });
    rmSync(dir, { recursive: true });
    expect(await errnoOf(() => chain.listExports(clientOf(chain), false))).toBe("ENOENT");
  });

  test("or a file may be given as a descriptor", async () => {
    const dir = images();
    const folderFd = openSync(dir, "r");
    const fileFd = openSync(join(dir, "b.img"), "r+");
    {
      await using stack = await overPlugin(
        plugin,
        { dirfd: `${folderFd}` },
        { exportName: "a image" },
      );
      expect(await stack.next.getSize()).toBe(1024n);
      await using file = await overPlugin(plugin, { fd: `${fileFd}` });
      await file.next.pwrite(new Uint8Array([9]), 0n, 0);
      expect(await readFrom(file.next, 0n, 2)).toEqual(new Uint8Array([9, 2]));
    }
    closeSync(folderFd);
    closeSync(fileFd);
    await expect(configured(plugin, { fd: `${fileFd}` })).rejects.toThrow(
      `file: fd=${fileFd}: Bad file descriptor`,
    );
  });
});

test("a single file is the default and only export", async () => {
  const chain = await configured(plugin, { file: image(512) });
  expect((await chain.listExports(clientOf(chain), false)).entries).toEqual([
    { name: "", description: undefined },
  ]);
});

describe("parameters", () => {
  test("file= is required", async () => {
    await expect(configured(plugin, {})).rejects.toThrow("file= is required");
  });

  test("only one of file=, dir=, fd= and dirfd= may be given", async () => {
    await expect(configured(plugin, { file: image(512), dir: folder() })).rejects.toThrow(
      "file: file= and dir= exclude each other: expected one of them",
    );
  });

  test.each(["file", "dir"])("%s= must be given only once", async (key) => {
    const first = key === "file" ? image(512) : folder();
    const chain = await configured(plugin, { [key]: first });
    const again = (async () => chain.config(key, "other"))();
    await expect(again).rejects.toThrow(
      `file: ${key}=other: it was given before: expected one value`,
    );
  });

  test("dir= refuses a file", async () => {
    const path = image(512);
    await expect(configured(plugin, { dir: path })).rejects.toThrow(
      `file: ${path} is not a directory`,
    );
  });

  test.each(["file", "dir"])("a missing %s= is reported at the start", async (key) => {
    const path = join(folder(), "missing.img");
    const chain = configured(plugin, { [key]: path });
    await expect(chain).rejects.toThrow(
      expect.objectContaining({ message: `file: ${path}: No such file or directory` }),
    );
  });

  test("file= refuses a directory", async () => {
    await expect(configured(plugin, { file: folder() })).rejects.toThrow(
      `file: ${folder()} is a directory: use dir= to serve files within it`,
    );
  });

  test("file= refuses a pipe without waiting for its writer", async () => {
    const path = join(folder(), "pipe");
    expect(Bun.spawnSync(["mkfifo", path]).success).toBe(true);
    await expect(configured(plugin, { file: path })).rejects.toThrow("is a special file");
  });

  test("file= refuses clients once the file was removed", async () => {
    const path = image(512);
    const chain = await configured(plugin, { file: path });
    rmSync(path);
    const connection = chain.connect(clientOf(chain, 1));
    expect(await errnoOf(() => connection.open(false, "", false))).toBe("ENOENT");
  });

  test.each([
    ["fd", "fd=1: expected an integer from 3 to 2147483647"],
    ["dirfd", "dirfd=1: expected an integer from 3 to 2147483647"],
    ["rdelay", "use --filter=delay"],
    [
      "x",
      "unknown parameter x=1: expected one of file, dir, fd, dirfd, reduce-memory-pressure, fadvise",
    ],
  ])("%s= is refused", async (key, message) => {
    await expect(configured(plugin, { [key]: "1" })).rejects.toThrow(message);
  });

  test.each([
    ["cache", "one of default, none"],
    ["fadvise", "one of normal, random, sequential"],
  ])("%s= accepts only its values", async (key, message) => {
    await expect(configured(plugin, { [key]: "x" })).rejects.toThrow(message);
  });

  test("the kernel accepts every value of fadvise=", async () => {
    for (const fadvise of ["normal", "random", "sequential"]) {
      await using stack = await overPlugin(plugin, { file: image(4096), fadvise });
      expect(await readFrom(stack.next, 0n, 1)).toEqual(new Uint8Array(1));
    }
  });
});

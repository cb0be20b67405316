/** Real clients read and write an image correctly through every kind of chain. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { compileModule } from "#test/modules";
import { needing, serve } from "#test/server";

import { outputOf } from "./output-fixture.ts";

const size = 8 << 20;
const tools = ["cc", "nbdkit", "nbdinfo", "nbdcopy", "nbdsh", "qemu-img", "qemu-io"];
const { skip, needs } = needing(...tools);

let folder = "";
let image = "";
let plain = "";
const modules: Record<string, string> = {};

/** The xor filters of a chain cancel out, or only clients see the bytes, so each chain serves the plain image. */
interface ChainCase {
  readonly what: string;
  readonly filters: readonly string[];
  /** The plugin and its parameters. */
  readonly plugin: readonly string[];
  /** Whether the plugin serves the image file, whose bytes then equal those that clients see. */
  readonly onFile: boolean;
}
const chains: readonly ChainCase[] = [
  { what: "TS", filters: ["offset"], plugin: ["file", "IMAGE"], onFile: true },
  {
    what: "C over TS",
    filters: ["XOR", "XOR"],
    plugin: ["file", "IMAGE", "xor-key=165"],
    onFile: true,
  },
  {
    what: "TS over C over TS",
    filters: ["offset", "XOR", "XOR"],
    plugin: ["file", "IMAGE", "xor-key=90"],
    onFile: true,
  },
  {
    what: "C, TS, C over TS",
    filters: ["XOR", "offset", "XOR"],
    plugin: ["file", "IMAGE", "xor-key=7"],
    onFile: true,
  },
  {
    what: "nbdkit 1.2 over TS",
    filters: ["GUARD"],
    plugin: ["file", "IMAGE", "guard=0"],
    onFile: true,
  },
  {
    what: "C over C plugin of API 1",
    filters: ["XOR"],
    plugin: ["RAM1", `size=${size}`, "xor-key=3"],
    onFile: false,
  },
  {
    what: "C over C plugin of API 2",
    filters: ["XOR"],
    plugin: ["RAM2", `size=${size}`, "xor-key=3"],
    onFile: false,
  },
  {
    what: "TS over C plugin",
    filters: ["offset"],
    plugin: ["RAM2", `size=${size}`],
    onFile: false,
  },
  {
    what: "the original layout, nbdkit 1.32's filters and TS over nbdkit's plugin",
    filters: ["XOR", "native:blocksize", "offset", "native:nofilter", "XOR"],
    plugin: ["native:file", "IMAGE", "xor-key=91"],
    onFile: true,
  },
];

/** The arguments for the chain, with the paths of its files. */
function argsOf(chain: ChainCase): string[] {
  const fill = (word: string) => modules[word] ?? (word === "IMAGE" ? `file=${image}` : word);
  return [...chain.filters.map((filter) => `--filter=${fill(filter)}`), ...chain.plugin.map(fill)];
}

const sh = async (uri: string, script: string) =>
  await outputOf(["nbdsh", "-u", uri, "-c", script]);

beforeAll(async () => {
  if (skip) return;
  modules["XOR"] = await compileModule("examples/xor/xor.c");
  modules["GUARD"] = await compileModule("examples/tail-guard/tail-guard.c");
  modules["RAM1"] = await compileModule("examples/ramdisk-v1/ramdisk-v1.c");
  modules["RAM2"] = await compileModule("examples/ramdisk-v2/ramdisk-v2.c");
  folder = mkdtempSync(join(tmpdir(), "nbdkit-e2e-"));
  image = join(folder, "image.raw");
  plain = join(folder, "plain.raw");
  const bytes = new Uint8Array(size);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 31 + (i >> 9)) & 255;
  writeFileSync(plain, bytes);
});
afterAll(() => {
  if (folder !== "") rmSync(folder, { recursive: true });
});

describe.skipIf(skip)(`real clients${needs}`, () => {
  describe.each(chains)("through $what", (chain) => {
    test("copy and compare the image: nbdcopy, nbdinfo, qemu-img", async () => {
      writeFileSync(image, new Uint8Array(size));
      await using server = await serve(argsOf(chain));
      await outputOf(["nbdcopy", plain, server.uri]);
      expect(await outputOf(["nbdinfo", "--size", server.uri])).toBe(`${size}\n`);
      const out = join(folder, "out.raw");
      await outputOf(["nbdcopy", server.uri, out]);
      expect(readFileSync(out).equals(readFileSync(plain))).toBe(true);
      expect(
        await outputOf(["qemu-img", "compare", "-f", "raw", "-F", "raw", plain, server.uri]),
      ).toBe("Images are identical.\n");
      if (chain.onFile) expect(readFileSync(image).equals(readFileSync(plain))).toBe(true);
    });

    test("write, zero and discard with the same result as on a plain file: qemu-io", async () => {
      const model = join(folder, "model.raw");
      writeFileSync(model, readFileSync(plain));
      writeFileSync(image, readFileSync(plain));
      const commands = [
        "write -P 0x11 0 64k",
        "write -f -P 0x22 65537 1000",
        "write -P 0x33 8388096 512",
        "write -z 128k 64k",
        "write -z -u 256k 128k",
        "write -P 0x44 300k 4k",
        "aio_write -P 0x55 1M 512k",
        "aio_write -P 0x66 2M 512k",
        "aio_flush",
        "flush",
        "read -P 0x55 1M 512k",
      ].flatMap((command) => ["-c", command]);
      await using server = await serve(argsOf(chain));
      if (!chain.onFile) await outputOf(["nbdcopy", plain, server.uri]);
      for (const target of [server.uri, model]) {
        await outputOf(["qemu-io", "-f", "raw", ...commands, target]);
      }
      const out = join(folder, "out.raw");
      await outputOf(["nbdcopy", server.uri, out]);
      expect(readFileSync(out).equals(readFileSync(model))).toBe(true);
      if (chain.onFile) expect(readFileSync(image).equals(readFileSync(model))).toBe(true);
      // The content of a discarded range is undefined.
      await outputOf(["qemu-io", "-f", "raw", "-c", "discard 4M 1M", server.uri]);
    });

    test("read, write with FUA, flush, zero, and get errors beyond the end: nbdsh", async () => {
      writeFileSync(image, new Uint8Array(size));
      await using server = await serve(argsOf(chain));
      const text = await sh(
        server.uri,
        `
import errno
h.pwrite(bytes(1000), 12300)
h.pwrite(b"hello" * 100, 12345, nbd.CMD_FLAG_FUA if h.can_fua() else 0)
assert h.pread(500, 12345) == b"hello" * 100
assert h.pread(10, 12340) == bytes(5) + b"hello"
if h.can_zero(): h.zero(100, 12345)
else: h.pwrite(bytes(100), 12345)
assert h.pread(500, 12345) == bytes(100) + b"hello" * 80
if h.can_flush(): h.flush()
h.set_strict_mode(0)
for call in (lambda: h.pread(1, h.get_size()), lambda: h.pread(2, h.get_size() - 1)):
  try:
    call()
    assert False
  except nbd.Error as e:
    assert e.errno == "EINVAL", e.errno
try:
  h.pwrite(b"x", h.get_size())
  assert False
except nbd.Error as e:
  assert e.errno == "ENOSPC", e.errno
print(h.get_size())
`,
      );
      expect(text).toBe(`${size}\n`);
      const { code, stderr } = await server.stop();
      expect(code).toBe(0);
      expect(stderr.replaceAll(/^nbdkit: \S+ error: invalid request: .*\n/gm, "")).toBe("");
    });
  });

  test("make holes in the file by discarding through a C filter", async () => {
    writeFileSync(image, new Uint8Array(size).fill(1));
    const before = statSync(image).blocks;
    await using server = await serve([`--filter=${modules["GUARD"]}`, "file", image, "guard=0"]);
    await outputOf(["qemu-io", "-f", "raw", "-c", "discard 1M 4M", server.uri]);
    expect(statSync(image).blocks).toBeLessThanOrEqual(before - (4 << 11));
  });

  test("write to different parts of the disk at once", async () => {
    writeFileSync(image, new Uint8Array(size));
    await using server = await serve([
      `--filter=${modules["XOR"]}`,
      "--filter=offset",
      `--filter=${modules["XOR"]}`,
      "file",
      image,
      "xor-key=77",
    ]);
    await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        outputOf(["qemu-io", "-f", "raw", "-c", `write -P ${i + 1} ${i}M 1M`, server.uri]),
      ),
    );
    const bytes = readFileSync(image);
    const marks = Array.from({ length: 8 }, (_, i) => {
      const part = bytes.subarray(i << 20, (i + 1) << 20);
      return part.every((byte) => byte === i + 1);
    });
    expect(marks).toEqual(marks.map(() => true));
  });

  test("cannot write with -r", async () => {
    writeFileSync(image, readFileSync(plain));
    await using server = await serve([
      "-r",
      `--filter=${modules["XOR"]}`,
      "file",
      image,
      "xor-key=0",
    ]);
    expect(await outputOf(["nbdinfo", "--is", "read-only", server.uri])).toBe("");
    await sh(
      server.uri,
      `
h.set_strict_mode(0)
try:
  h.pwrite(b"x", 0)
  assert False
except nbd.Error as e:
  assert e.errno == "EPERM", e.errno
`,
    );
    expect(readFileSync(image).equals(readFileSync(plain))).toBe(true);
  });
});

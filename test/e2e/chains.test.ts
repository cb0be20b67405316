/**
 * Real clients over every kind of chain, compared with the plain image: what they read and write is
 * what is on disk.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { compileModule, haveCompiler } from "#test/modules";
import { installed, run, serve } from "#test/server";

const size = 8 << 20;
const missing = ["cc", "nbdkit", "nbdinfo", "nbdcopy", "nbdsh", "qemu-img", "qemu-io"].filter(
  (tool) => (tool === "cc" ? !haveCompiler : !installed(tool)),
);
const needs = missing.length > 0 ? ` (skipped: needs ${missing.join(", ")})` : "";

let folder = "";
let image = "";
let plain = "";
const modules: Record<string, string> = {};

/** Two xors cancel out, so that behind each chain the disk is the plain image. */
interface ChainCase {
  readonly what: string;
  readonly filters: readonly string[];
  /** Plugin and parameters. */
  readonly plugin: readonly string[];
  /** Whether the bytes are those of the image file. */
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
    what: "the original form, nbdkit 1.32's filters and TS over a genuine plugin",
    filters: ["XOR", "native:blocksize", "offset", "native:nofilter", "XOR"],
    plugin: ["native:file", "IMAGE", "xor-key=91"],
    onFile: true,
  },
];

/** The words of a command line with the files filled in. */
function words(chain: ChainCase): string[] {
  const fill = (word: string) => modules[word] ?? (word === "IMAGE" ? `file=${image}` : word);
  return [...chain.filters.map((filter) => `--filter=${fill(filter)}`), ...chain.plugin.map(fill)];
}

async function ok(command: readonly string[]): Promise<string> {
  // nbdsh takes the first python3, which has to be the one that Debian's modules are for.
  const result = await run(command, { env: { PATH: `/usr/bin:${process.env["PATH"]}` } });
  expect({ command, code: result.code, stderr: result.stderr }).toEqual({
    command,
    code: 0,
    stderr: "",
  });
  return result.stdout;
}

const sh = async (uri: string, script: string) => await ok(["nbdsh", "-u", uri, "-c", script]);

beforeAll(async () => {
  if (missing.length > 0) return;
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

describe.skipIf(missing.length > 0)(`real clients${needs}`, () => {
  describe.each(chains)("$what", (chain) => {
    test("nbdcopy in and out, nbdinfo and qemu-img compare agree with the plain image", async () => {
      writeFileSync(image, new Uint8Array(size));
      await using server = await serve(words(chain));
      await ok(["nbdcopy", plain, server.uri]);
      expect(await ok(["nbdinfo", "--size", server.uri])).toBe(`${size}\n`);
      const out = join(folder, "out.raw");
      await ok(["nbdcopy", server.uri, out]);
      expect(readFileSync(out).equals(readFileSync(plain))).toBe(true);
      expect(await ok(["qemu-img", "compare", "-f", "raw", "-F", "raw", plain, server.uri])).toBe(
        "Images are identical.\n",
      );
      if (chain.onFile) expect(readFileSync(image).equals(readFileSync(plain))).toBe(true);
    });

    test("qemu-io writes, zeroes and discards what the same commands do to a plain file", async () => {
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
      await using server = await serve(words(chain));
      if (!chain.onFile) await ok(["nbdcopy", plain, server.uri]);
      for (const target of [server.uri, model]) {
        await ok(["qemu-io", "-f", "raw", ...commands, target]);
      }
      const out = join(folder, "out.raw");
      await ok(["nbdcopy", server.uri, out]);
      expect(readFileSync(out).equals(readFileSync(model))).toBe(true);
      if (chain.onFile) expect(readFileSync(image).equals(readFileSync(model))).toBe(true);
      // What a discarded range reads as is up to the server: here only that it can be done.
      await ok(["qemu-io", "-f", "raw", "-c", "discard 4M 1M", server.uri]);
    });

    test("nbdsh reads, writes with FUA, flushes, zeroes and is refused beyond the end", async () => {
      writeFileSync(image, new Uint8Array(size));
      await using server = await serve(words(chain));
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

  test("discards through a C filter make holes in the file", async () => {
    writeFileSync(image, new Uint8Array(size).fill(1));
    const before = statSync(image).blocks;
    await using server = await serve([`--filter=${modules["GUARD"]}`, "file", image, "guard=0"]);
    await ok(["qemu-io", "-f", "raw", "-c", "discard 1M 4M", server.uri]);
    expect(statSync(image).blocks).toBeLessThanOrEqual(before - (4 << 11));
  });

  test("several clients write at once, each its own part", async () => {
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
        ok(["qemu-io", "-f", "raw", "-c", `write -P ${i + 1} ${i}M 1M`, server.uri]),
      ),
    );
    const bytes = readFileSync(image);
    const marks = Array.from({ length: 8 }, (_, i) => {
      const part = bytes.subarray(i << 20, (i + 1) << 20);
      return part.every((byte) => byte === i + 1);
    });
    expect(marks).toEqual(marks.map(() => true));
  });

  test("read-only is read-only through every layer", async () => {
    writeFileSync(image, readFileSync(plain));
    await using server = await serve([
      "-r",
      `--filter=${modules["XOR"]}`,
      "file",
      image,
      "xor-key=0",
    ]);
    expect(await ok(["nbdinfo", "--is", "read-only", server.uri])).toBe("");
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

/** Real clients see the exports, block sizes and extents that a TypeScript plugin reports. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { needing, run, serve, type Served } from "#test/server";

import { outputOf } from "./output-fixture.ts";

const { skip, needs } = needing("nbdinfo", "nbdsh", "qemu-img");

/** The extents of the disk "holes": data, a hole, allocated zeroes, data, a hole up to the end. */
const map = [
  { offset: 0, length: 65536, type: 0 },
  { offset: 65536, length: 131072, type: 3 },
  { offset: 196608, length: 65536, type: 2 },
  { offset: 262144, length: 65536, type: 0 },
  { offset: 327680, length: 4194304 - 327680, type: 3 },
];

const plugin = `
import { definePlugin, NbdError } from "nbdkit";
const map = ${JSON.stringify(map)};
export default definePlugin({
  name: "catalog",
  params: {},
  listExports(_config, _readonly, _isTls, exports) {
    exports.useDefault();
    exports.add("päper", "a second disk");
  },
  defaultExport: () => "holes",
  open(_config, _readonly, name) {
    if (name !== "holes" && name !== "päper") throw new NbdError("ENOENT", "there is no disk " + name);
    return { name };
  },
  exportDescription: ({ name }) => (name === "holes" ? "a disk with holes" : undefined),
  getSize: ({ name }) => (name === "holes" ? 4194304n : 1n << 43n),
  blockSize: () => ({ minimum: 512, preferred: 65536, maximum: 1048576 }),
  pread({ name }, buf, offset) {
    if (offset === 262144n && buf.length === 512) throw new NbdError("EIO", "bad sector");
    buf.fill(0);
    if (name !== "holes") return;
    for (let i = 0; i < buf.length; i++) {
      const at = Number(offset) + i;
      const part = map.find((it) => at < it.offset + it.length);
      if (part?.type === 0) buf[i] = 1 + (at % 251);
    }
  },
  extents({ name }, _count, _offset, _flags, extents) {
    if (name !== "holes") return extents.add(0n, 1n << 43n, 3);
    for (const { offset, length, type } of map) extents.add(BigInt(offset), BigInt(length), type);
  },
});
`;

let folder = "";
let server: Served;
let plain: Served;

function uri(of: Served, name = ""): string {
  return `nbd+unix:///${encodeURIComponent(name)}?socket=${of.socket}`;
}

const sh = async (of: Served, name: string, script: string) =>
  (await outputOf(["nbdsh", "-u", uri(of, name), "-c", script])).trim();

describe.skipIf(skip)(`a client${needs}`, () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "nbdkit-e2e-"));
    const file = join(folder, "catalog.ts");
    writeFileSync(file, plugin);
    server = await serve([file]);
    plain = await serve(["--no-sr", file]);
  });
  afterAll(async () => {
    await server.stop();
    await plain.stop();
    rmSync(folder, { recursive: true });
  });

  test("lists all exports with their properties: nbdinfo", async () => {
    const { exports } = JSON.parse(
      await outputOf(["nbdinfo", "--list", "--json", uri(server)]),
    ) as {
      exports: readonly Record<string, unknown>[];
    };
    const about = exports.map((it) => [
      it["export-name"],
      it["description"],
      it["export-size"],
      it["contexts"],
      it["block_size_minimum"],
      it["block_size_preferred"],
      it["block_size_maximum"],
    ]);
    const sizes = [["base:allocation"], 512, 65536, 1048576];
    expect(about).toEqual([
      ["päper", "a second disk", 2 ** 43, ...sizes],
      // The list contains no description of it, and nbdinfo does not query one.
      ["holes", undefined, 4194304, ...sizes],
    ]);
  });

  test("gets the name and description of the default export: nbdinfo", async () => {
    const output = await outputOf(["nbdinfo", uri(server)]);
    expect(output).toContain('export="holes"');
    expect(output).toContain("description: a disk with holes");
    expect((await run(["nbdinfo", uri(server, "none")])).code).toBe(1);
    expect(server.stderr()).toContain("there is no disk none");
  });

  test("gets the plugin's extents: nbdinfo --map, qemu-img map", async () => {
    type Part = { offset: number; length: number; type: number };
    const seen = JSON.parse(await outputOf(["nbdinfo", "--map", "--json", uri(server)])) as Part[];
    expect(seen.map(({ offset, length, type }) => ({ offset, length, type }))).toEqual(map);
    const parts = JSON.parse(await outputOf(["qemu-img", "map", "--output=json", uri(server)])) as {
      start: number;
      length: number;
      zero: boolean;
      data: boolean;
    }[];
    expect(parts.map(({ start, length, zero, data }) => [start, length, zero, data])).toEqual(
      map.map(({ offset, length, type }) => [offset, length, type > 1, type % 2 === 0]),
    );
  });

  test("gets a hole of 8 TiB as one extent: nbdinfo --map", async () => {
    const lines = (await outputOf(["nbdinfo", "--map", uri(server, "päper")])).trim().split("\n");
    expect(lines.map((line) => line.trim().split(/\s+/).slice(0, 3))).toEqual([
      ["0", `${2 ** 43}`, "3"],
    ]);
  });

  test("gets block status of a range, of one extent, and inside an extent: nbdsh", async () => {
    const ask = `
seen = []
def collect(context, offset, entries, error):
    seen.append((context, offset, entries))
h.block_status(102400, 65536, collect)
h.block_status(204800, 0, collect, nbd.CMD_FLAG_REQ_ONE)
h.block_status(512, 65536 + 1024, collect)
print(seen)`;
    const script = `h.add_meta_context("base:allocation")
h.connect_uri("${uri(server)}")${ask}`;
    expect((await outputOf(["nbdsh", "-c", script])).trim()).toBe(
      "[('base:allocation', 65536, [131072, 3]), ('base:allocation', 0, [65536, 0]), " +
        "('base:allocation', 66560, [130048, 3])]",
    );
  });

  test.each([{ structured: true }, { structured: false }])(
    "reads the same data with structured replies and without: $structured",
    async ({ structured }) => {
      const read =
        "import hashlib; print(h.get_structured_replies_negotiated(), h.can_df(), " +
        "hashlib.sha256(h.pread(1048576, 0)).hexdigest())";
      const expected = new Uint8Array(1048576);
      for (const { offset, length, type } of map) {
        for (let at = type === 0 ? offset : offset + length; at < offset + length; at++)
          expected[at] = 1 + (at % 251);
      }
      const hash = new Bun.CryptoHasher("sha256").update(expected).digest("hex");
      const answer = `${structured ? "True True" : "False False"} ${hash}`;
      expect(await sh(structured ? server : plain, "", read)).toBe(answer);
      if (structured) return;
      const script = `h.set_request_structured_replies(False)
h.connect_uri("${uri(server)}")
${read}`;
      expect((await outputOf(["nbdsh", "-c", script])).trim()).toBe(answer);
    },
  );

  test.each([{ structured: true }, { structured: false }])(
    "can read after an error, with structured replies and without: $structured",
    async ({ structured }) => {
      const script = `
h.set_strict_mode(0)
errors = []
for count, offset in ((512, 262144), (1024, 4194304 - 512), (512, 4194304), (512, 0)):
    try:
        h.pread(count, offset)
        errors.append(0)
    except nbd.Error as e:
        errors.append(e.errnum)
print(errors)`;
      expect(await sh(structured ? server : plain, "", script)).toBe("[5, 22, 22, 0]");
    },
  );

  test("sees only data without structured replies: qemu-img", async () => {
    const parts = JSON.parse(
      await outputOf(["qemu-img", "map", "--output=json", uri(plain)]),
    ) as unknown[];
    expect(parts).toMatchObject([{ start: 0, length: 4194304, zero: false, data: true }]);
  });
});

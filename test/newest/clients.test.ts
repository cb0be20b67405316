/** The newest libnbd's tools and the newest qemu, as clients of this server. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { newestDebian } from "#test/newest";
import { run, serve, type Served } from "#test/server";

const newest = await newestDebian();
const needs = "needs" in newest ? ` ${newest.needs}` : "";

const size = 4 << 20;

/** Data, a hole, data and a hole. */
function content(): Buffer {
  const bytes = Buffer.alloc(size);
  bytes.fill("some text\n", 0, 300_000);
  bytes.fill("more of it\n", 3 << 20, (3 << 20) + 500_000);
  return bytes;
}

describe.skipIf(needs !== "")(`the newest clients${needs}`, () => {
  if ("needs" in newest) {
    test("are served", () => {});
    return;
  }
  const { inside } = newest;
  let folder = "";
  let server: Served;
  const image = () => join(folder, "image");
  const other = () => join(folder, "other");

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "nbdkit-clients-"));
    writeFileSync(image(), content());
    server = await serve(["--filter=cow", "file", image()]);
  });
  afterAll(async () => {
    const { code, stderr } = await server.stop();
    rmSync(folder, { recursive: true, force: true });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  });

  /** Runs the command. Returns what it prints. */
  async function printed(...command: string[]): Promise<string> {
    const { code, stdout, stderr } = await run([...inside, ...command]);
    expect({ command, code, stderr }).toEqual({ command, code: 0, stderr: "" });
    return stdout;
  }

  test("nbdinfo shows the export", async () => {
    const { exports } = JSON.parse(
      await printed("nbdinfo", "--no-content", "--json", server.uri),
    ) as {
      exports: readonly Record<string, unknown>[];
    };
    expect(exports).toMatchObject([
      { "export-size": size, is_read_only: false, can_fua: true, can_zero: true, can_trim: true },
    ]);
    expect((await printed("nbdinfo", "--size", server.uri)).trim()).toBe(String(size));
    expect(await printed("nbdinfo", "--no-content", "--list", server.uri)).toContain('export=""');
  });

  test("nbdinfo --map covers the whole disk", async () => {
    const map = JSON.parse(await printed("nbdinfo", "--json", "--map", server.uri)) as readonly {
      readonly offset: number;
      readonly length: number;
    }[];
    expect(map.reduce((end, extent) => (extent.offset === end ? end + extent.length : -1), 0)).toBe(
      size,
    );
  });

  test("nbdcopy copies the disk out", async () => {
    await printed("nbdcopy", server.uri, other());
    expect(readFileSync(other()).equals(content())).toBe(true);
  });

  test("nbdcopy copies the disk in and back", async () => {
    await using memory = await serve(["memory", String(size)]);
    await printed("nbdcopy", image(), memory.uri);
    await printed("nbdcopy", memory.uri, other());
    expect(readFileSync(other()).equals(content())).toBe(true);
    await printed("nbdcopy", "--allocated", server.uri, memory.uri);
  });

  test("nbddump shows the bytes", async () => {
    const text = await printed("nbddump", "--length", "16", server.uri);
    expect(text).toContain("73 6f 6d 65 20 74 65 78");
    expect(text).toContain("|some text.some t|");
  });

  test("qemu-img shows, compares and converts the disk", async () => {
    const info = JSON.parse(await printed("qemu-img", "info", "--output=json", server.uri));
    expect(info).toMatchObject({ "virtual-size": size, format: "raw" });
    const compare = ["qemu-img", "compare", "-f", "raw", "-F", "raw", server.uri, image()];
    expect(await printed(...compare)).toBe("Images are identical.\n");
    await printed("qemu-img", "convert", "-f", "raw", "-O", "raw", server.uri, other());
    expect(readFileSync(other()).equals(content())).toBe(true);
  });

  test("qemu-io writes, zeroes, discards and reads back", async () => {
    await using memory = await serve(["memory", "1M"]);
    const steps = [
      ...[
        "write -P 7 0 128k",
        "write -z 64k 32k",
        "discard 96k 4k",
        "flush",
        "write -f -P 9 1000 100",
      ],
      ...["read -P 7 0 1000", "read -P 9 1000 100", "read -P 0 64k 32k", "read -P 0 512k 512k"],
    ];
    const output = await printed(
      ...["qemu-io", "-f", "raw", ...steps.flatMap((step) => ["-c", step]), memory.uri],
    );
    expect(output).not.toContain("failed");
    expect(output.match(/^(read|wrote|discard) /gm)).toHaveLength(8);
  });
});

/** The genuine xz filter: it serves an .xz file unpacked. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { run } from "#test/server";

import { refusesClients } from "../cases.ts";
import { stock } from "../stock.ts";

const content = Buffer.alloc(
  100_000,
  Uint8Array.from({ length: 251 }, (_, at) => at),
);

/** Packs the content into blocks of `block` bytes. */
async function packed(folder: string, block: number): Promise<void> {
  const file = join(folder, "disk");
  writeFileSync(file, content);
  const { code, stderr } = await run(["xz", "-0", `--block-size=${block}`, file]);
  if (code !== 0) throw new Error(`xz ended with ${code}: ${stderr}`);
}

const hash = new Bun.CryptoHasher("sha256").update(content).digest("hex");

stock("xz serves the content of many blocks read-only", {
  filters: ["xz"],
  plugin: "file",
  needs: ["xz"],
  before: (folder) => packed(folder, 8192),
  params: (folder) => [join(folder, "disk.xz"), "xz-max-depth=2"],
  see: `
show ([h.get_size (), h.pread (4, 8190), h.pread (3, 99997), sha256 (h.pread (100000, 0)),
       errno (lambda: h.pread (1, 100000)), errno (lambda: h.pwrite (b"x", 0)), flags ()])
show ([bytes (h.pread (1, at)).hex () for at in range (95000, 0, -9000)])
`,
  expected: [
    [100000, "9e9fa0a1", "636465", hash, "EINVAL", "EPERM", "read_only flush multi_conn cache df"],
    ["7a", "9e", "c2", "e6", "0f", "33", "57", "7b", "9f", "c3", "e7"],
  ],
});

refusesClients("xz refuses clients if a block is larger than xz-max-block", {
  filters: ["xz"],
  plugin: "file",
  needs: ["xz"],
  before: (folder) => packed(folder, 65536),
  params: (folder) => [join(folder, "disk.xz"), "xz-max-block=64000"],
  error: "xz file largest block is bigger than maxblock",
});

refusesClients("xz refuses clients if the file is not an .xz file", {
  filters: ["xz"],
  plugin: "pattern",
  params: () => ["size=1M"],
  error: "xz: not an xz file",
});

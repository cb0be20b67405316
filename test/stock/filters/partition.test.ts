/** The genuine partition filter: it serves one partition of a disk. */
import { closeSync, openSync, writeSync } from "node:fs";

import { run } from "#test/server";

import { refusesClients } from "../cases.ts";
import { diskOf, makeDisk } from "../recorder.ts";
import { nbdsh, stock } from "../stock.ts";

/** Makes a disk with partitions by sfdisk. Each one begins with the text "sector N", its first sector. */
async function partitioned(folder: string, script: string): Promise<void> {
  makeDisk(folder, 8 * 1024 * 1024);
  const disk = diskOf(folder);
  const { code, stderr } = await run(["sfdisk", "-q", "--no-reread", "--no-tell-kernel", disk], {
    stdin: script,
  });
  if (code !== 0) throw new Error(`sfdisk ended with ${code}: ${stderr}`);
  const file = openSync(disk, "r+");
  for (const [, start] of script.matchAll(/^\d*:? *start=(\d+)/gm))
    writeSync(file, `sector ${start}`, Number(start) * 512);
  closeSync(file);
}

const mbr = `label: dos
start=64, size=128, type=83
start=256, size=8000, type=5
start=300, size=200, type=83
start=600, size=301, type=82
start=10000, size=6000, type=83
`;
const gpt = `label: gpt
1: start=2048, size=100
2: start=4096, size=2048
17: start=8192, size=7
`;

function serves(title: string, table: string, partition: number, expected: unknown): void {
  stock(title, {
    filters: ["partition"],
    plugin: "file",
    before: (folder) => partitioned(folder, table),
    params: (folder) => [diskOf(folder), `partition=${partition}`],
    see: async ({ server, folder }) => {
      const seen = await nbdsh(
        server,
        `
size = h.get_size ()
show ([size, str (h.pread (12, 0).strip (b"\\0"), "ascii"), len (h.pread (512, size - 512)),
       errno (lambda: h.pread (1, size)), errno (lambda: h.pwrite (b"written", size - 7)), errno (h.flush)])
`,
      );
      const disk = Buffer.from(await Bun.file(diskOf(folder)).arrayBuffer());
      return [seen, disk.indexOf("written")];
    },
    expected,
    needs: ["sfdisk"],
  });
}

serves("partition serves a primary MBR partition", mbr, 1, [
  [65536, "sector 64", 512, "EINVAL", null, null],
  98297,
]);
serves("partition serves a logical MBR partition", mbr, 6, [
  [154112, "sector 600", 512, "EINVAL", null, null],
  461305,
]);
serves("partition serves a GPT partition", gpt, 2, [
  [1048576, "sector 4096", 512, "EINVAL", null, null],
  3145721,
]);
serves("partition serves a GPT partition after a gap in the numbers", gpt, 17, [
  [3584, "sector 8192", 512, "EINVAL", null, null],
  4197881,
]);

for (const [what, table, partition, message] of [
  ["the MBR lacks the partition", mbr, 4, "MBR partition 4 not found"],
  ["the GPT lacks the partition", gpt, 3, "GPT partition 3 not found"],
  [
    "there is no partition table",
    "",
    1,
    "disk does not contain MBR or GPT partition table signature",
  ],
] as const)
  refusesClients(`partition refuses clients if ${what}`, {
    filters: ["partition"],
    plugin: "file",
    before: (folder) => (table === "" ? makeDisk(folder, 65536) : partitioned(folder, table)),
    params: (folder) => [diskOf(folder), `partition=${partition}`],
    error: `${message}`,
    needs: ["sfdisk"],
  });

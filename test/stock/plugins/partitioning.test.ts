/** The genuine partitioning plugin: it serves files as partitions of one disk. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { run } from "#test/server";

import { refuses } from "../cases.ts";
import { nbdsh, stock } from "../stock.ts";

/** Makes files of 1000, 2000, … bytes, each full of its letter. */
function files(folder: string, letters: string): void {
  for (const [at, letter] of letters.split("").entries()) {
    writeFileSync(join(folder, letter), letter.repeat(1000 * (at + 1)));
  }
}

stock("partitioning makes an MBR, and accepts writes to the files only", {
  plugin: "partitioning",
  params: (folder) => [
    join(folder, "a"),
    "mbr-id=0x82",
    "alignment=2048",
    join(folder, "b"),
    "mbr-id=default",
    join(folder, "c"),
  ],
  before: (folder) => files(folder, "abc"),
  see: async ({ server, folder }) => [
    await nbdsh(
      server,
      `
from struct import unpack
show (h.get_size ())
mbr = h.pread (512, 0)
parts = [unpack ("<B3xB3xII", mbr[at:at + 16]) for at in range (446, 510, 16)]
show ([parts, mbr[510:]])
starts = [part[2] * 512 for part in parts[:3]]
show ([[h.pread (3, start), h.pread (2, start - 1)] for start in starts])
show (extents (h.get_size (), 0))
h.pwrite (b"WRITE", starts[1] + 100)
h.flush ()
show (errnos (
  lambda: h.pwrite (b"x", 0),
  lambda: h.pwrite (bytes (512), 0),
  lambda: h.pwrite (mbr, 0),
  lambda: h.pwrite (b"x", 512),
  lambda: h.pwrite (bytes (512), 512),
  lambda: h.pwrite (b"!" * 600, starts[0] + 900),
  lambda: h.zero (512, starts[2]),
  lambda: h.pread (1, h.get_size ()),
))
show (flags ())
`,
    ),
    ["a", "b", "c"].map((name) => {
      const text = readFileSync(join(folder, name), "latin1");
      return [text.length, text.slice(0, 3), text.slice(98, 106), text.slice(-4)];
    }),
  ],
  expected: [
    [
      1055744,
      [
        [
          [128, 131, 2048, 2],
          [0, 130, 2052, 4],
          [0, 131, 2056, 6],
          [0, 0, 0, 0],
        ],
        "55aa",
      ],
      [
        ["616161", "0061"],
        ["626262", "0062"],
        ["636363", "0063"],
      ],
      "1055744 data",
      ["EIO", "EIO", null, "EIO", null, "EIO", null, "EINVAL"],
      "flush fua zero fast_zero multi_conn cache df",
    ],
    [
      [1000, "aaa", "aaaaaaaa", "!!!!"],
      [2000, "bbb", "bbWRITEb", "bbbb"],
      [3000, "\u0000\u0000\u0000", "\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000", "cccc"],
    ],
  ],
});

stock("partitioning makes a GPT that sfdisk reads", {
  filters: [],
  plugin: "partitioning",
  params: (folder) => [
    "partition-type=gpt",
    `file=${join(folder, "a")}`,
    "type-guid=A19D880F-05FC-4D3B-A006-743F0F84911E",
    `file=${join(folder, "b")}`,
    "type-guid=default",
    ...["c", "d", "e"].map((name) => `file=${join(folder, name)}`),
  ],
  before: (folder) => files(folder, "abcde"),
  needs: ["sfdisk", "nbdcopy"],
  see: async ({ server, folder }) => {
    const disk = join(folder, "disk");
    await run(["nbdcopy", server.uri, disk]);
    const { code, stdout } = await run(["sfdisk", "--json", disk]);
    const { partitiontable: table } = JSON.parse(stdout);
    return [
      code,
      [table.label, table.firstlba, table.lastlba, table.sectorsize],
      table.partitions.map(({ start, size, type }: Record<string, unknown>) => [start, size, type]),
      await nbdsh(
        server,
        "show ([h.get_size (), h.pread (8, 512), h.pread (8, h.get_size () - 512)])",
      ),
    ];
  },
  expected: [
    0,
    ["gpt", 34, 10249, 512],
    [
      [2048, 2, "0FC63DAF-8483-4772-8E79-3D69D8477DE4"],
      [4096, 4, "A19D880F-05FC-4D3B-A006-743F0F84911E"],
      [6144, 6, "0FC63DAF-8483-4772-8E79-3D69D8477DE4"],
      [8192, 8, "0FC63DAF-8483-4772-8E79-3D69D8477DE4"],
      [10240, 10, "0FC63DAF-8483-4772-8E79-3D69D8477DE4"],
    ],
    [5264896, "4546492050415254", "4546492050415254"],
  ],
});

stock("partitioning puts partitions from the fourth on into an extended one", {
  plugin: "partitioning",
  params: (folder) => [
    "partition-type=mbr",
    ..."abcdef".split("").map((name) => join(folder, name)),
  ],
  before: (folder) => files(folder, "abcdef"),
  needs: ["sfdisk", "nbdcopy"],
  see: async ({ server, folder }) => {
    const disk = join(folder, "disk");
    await run(["nbdcopy", server.uri, disk]);
    const { partitiontable: table } = JSON.parse((await run(["sfdisk", "--json", disk])).stdout);
    return [
      table.label,
      table.partitions.map(({ start, size, type }: Record<string, unknown>) => [start, size, type]),
    ];
  },
  expected: [
    "dos",
    [
      [2048, 2, "83"],
      [4096, 4, "83"],
      [6144, 6, "83"],
      [6150, 6150, "f"],
      [8192, 8, "83"],
      [10240, 10, "83"],
      [12288, 12, "83"],
    ],
  ],
});

refuses("partitioning refuses an empty partition", {
  plugin: "partitioning",
  params: (folder) => [join(folder, "empty")],
  before: (folder) => writeFileSync(join(folder, "empty"), ""),
  error: "FOLDER/empty: zero length partitions are not allowed",
});

/** The genuine cow filter: writes go to a temporary overlay. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { ownTmp, stock, withRequests } from "../stock.ts";

const common = {
  filters: ["cow", "log"],
  plugin: "file",
  env: ownTmp,
  before: (folder: string) => writeFileSync(join(folder, "disk"), Buffer.alloc(200_000, 0x11)),
} as const;
const params = (folder: string, ...more: readonly string[]) => [
  join(folder, "disk"),
  `logfile=${join(folder, "log")}`,
  ...more,
];

stock("cow shows writes to every client, and does not change the file", {
  ...common,
  params,
  see: async (side) => [
    await withRequests(
      side,
      `
show (flags ())
h.pwrite (b"abc", 65535)
h.pwrite (bytes ([0x22] * 65536), 131072 - 4, nbd.CMD_FLAG_FUA)
show ([errno (lambda: call (100, 10)) for call in (h.zero, h.trim, h.cache)])
h.pwrite (bytes (70000), 10)
h.pwrite (b"end", 199997)
h.flush ()
other = client ()
for c in (h, other):
    show ([c.pread (count, offset) for count, offset in ((4, 8), (4, 70008), (4, 131066), (12, 131071), (4, 199996))])
show (extents (200000, 0))
show (errno (lambda: h.pwrite (b"xx", 199999)))
other.shutdown ()
`,
    ),
    readFileSync(join(side.folder, "disk")).equals(Buffer.alloc(200_000, 0x11)),
  ],
  expected: [
    [
      [
        "flush fua trim multi_conn cache df",
        ["EINVAL", null, null],
        ["11110000", "00001111", "11112222", "222222222222222222222222", "11656e64"],
        ["11110000", "00001111", "11112222", "222222222222222222222222", "11656e64"],
        "200000 data",
        "ENOSPC",
      ],
      [
        "Read offset=0x0 count=0x10000",
        "Read offset=0x10000 count=0x10000",
        "Read offset=0x20000 count=0x10000",
        "Read offset=0x30000 count=0xd40",
      ],
    ],
    true,
  ],
});

stock("cow copies blocks that are read or cached with cow-on-read and cow-on-cache", {
  ...common,
  params: (folder) =>
    params(folder, "cow-block-size=4096", "cow-on-cache=true", `cow-on-read=${join(folder, "on")}`),
  see: (side) =>
    withRequests(
      side,
      `
h.pread (10, 0)
h.pread (10, 0)
touch ("${side.folder}/on")
h.pread (10, 4096)
h.pread (10, 4100)
os.unlink ("${side.folder}/on")
h.cache (8192, 8192)
show (h.pread (10, 8192))
`,
    ),
  expected: [
    "11111111111111111111",
    [
      "Read offset=0x0 count=0x1000",
      "Read offset=0x0 count=0x1000",
      "Read offset=0x1000 count=0x1000",
      "Read offset=0x2000 count=0x1000",
      "Read offset=0x3000 count=0x1000",
    ],
  ],
});

stock("cow makes a read-only plugin writable", {
  filters: ["cow"],
  plugin: "pattern",
  params: () => ["1M"],
  see: `
h.pwrite (b"abc", 4095)
show ([h.is_read_only (), h.pread (16, 4088), client ().pread (8, 4096)])
`,
  expected: [false, "0000000000000f616263000000001000", "6263000000001000"],
});

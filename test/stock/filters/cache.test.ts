/** The genuine cache filter: it keeps blocks in a temporary file. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { nbdsh, ownTmp, type Side, stock, withRequests } from "../stock.ts";

const common = {
  filters: ["cache", "log"],
  plugin: "file",
  env: ownTmp,
  before: (folder: string) => writeFileSync(join(folder, "disk"), Buffer.alloc(300_000, 0x11)),
} as const;
const params = (folder: string, ...more: readonly string[]) => [
  join(folder, "disk"),
  `logfile=${join(folder, "log")}`,
  "cache-min-block-size=64K",
  ...more,
];

/** The client's data, the content of the file, and the requests to it. */
const cached = (side: Side) =>
  withRequests(
    side,
    `
def disk (offset, count):
    with open ("${side.folder}/disk", "rb") as f:
        f.seek (offset)
        return f.read (count)
h.pwrite (b"abc", 65535)
show ([h.pread (5, 65534), disk (65534, 5)])
h.pwrite (bytes ([0x22] * 131072), 65536)
h.zero (70000, 200000)
h.trim (10, 0)
h.pwrite (b"end", 299997)
show ([h.pread (4, 299996), h.pread (4, 199998), disk (65536, 2), disk (299996, 4)])
h.flush ()
show ([h.pread (4, 299996), h.pread (4, 199998), disk (65536, 2), disk (299996, 4)])
h.pwrite (b"fua", 0, nbd.CMD_FLAG_FUA)
show ([disk (0, 4), flags ()])
`,
  );

stock("cache writes back on flush", {
  ...common,
  params,
  see: cached,
  expected: [
    [
      ["1161626311", "1111111111"],
      ["11656e64", "11110000", "1111", "11111111"],
      ["11656e64", "11110000", "2222", "11656e64"],
      ["66756111", "flush fua trim zero fast_zero multi_conn cache df"],
    ],
    [
      "Read offset=0x0 count=0x10000",
      "Read offset=0x10000 count=0x10000",
      "Read offset=0x30000 count=0x10000",
      "Read offset=0x40000 count=0x93e0",
      "Trim offset=0x0 count=0xa fua=0",
      "Write offset=0x0 count=0x10000 fua=0",
      "Write offset=0x10000 count=0x10000 fua=0",
      "Write offset=0x20000 count=0x10000 fua=0",
      "Write offset=0x30000 count=0x10000 fua=0",
      "Write offset=0x40000 count=0x93e0 fua=0",
      "Flush",
      "Write offset=0x0 count=0x10000 fua=1",
    ],
  ],
});

stock("cache writes at once with cache=writethrough", {
  ...common,
  params: (folder) => params(folder, "cache=writethrough"),
  see: cached,
  expected: [
    [
      ["1161626311", "1161626311"],
      ["11656e64", "11110000", "2222", "11656e64"],
      ["11656e64", "11110000", "2222", "11656e64"],
      ["66756111", "flush fua trim zero fast_zero multi_conn cache df"],
    ],
    [
      "Read offset=0x0 count=0x10000",
      "Write offset=0x0 count=0x10000 fua=0",
      "Read offset=0x10000 count=0x10000",
      "Write offset=0x10000 count=0x10000 fua=0",
      "Write offset=0x10000 count=0x10000 fua=0",
      "Write offset=0x20000 count=0x10000 fua=0",
      "Read offset=0x30000 count=0x10000",
      "Write offset=0x30000 count=0x10000 fua=0",
      "Read offset=0x40000 count=0x93e0",
      "Write offset=0x40000 count=0x93e0 fua=0",
      "Trim offset=0x0 count=0xa fua=0",
      "Write offset=0x40000 count=0x93e0 fua=0",
      "Flush",
      "Write offset=0x0 count=0x10000 fua=1",
    ],
  ],
});

stock("cache never writes back with cache=unsafe", {
  ...common,
  params: (folder) => params(folder, "cache=unsafe"),
  see: cached,
  expected: [
    [
      ["1161626311", "1111111111"],
      ["11656e64", "11110000", "1111", "11111111"],
      ["11656e64", "11110000", "1111", "11111111"],
      ["00000000", "flush fua trim zero fast_zero multi_conn cache df"],
    ],
    [
      "Read offset=0x0 count=0x10000",
      "Read offset=0x10000 count=0x10000",
      "Read offset=0x30000 count=0x10000",
      "Read offset=0x40000 count=0x93e0",
      "Trim offset=0x0 count=0xa fua=0",
    ],
  ],
});

stock("cache keeps blocks that are read while the file of cache-on-read exists", {
  ...common,
  params: (folder) => params(folder, `cache-on-read=${join(folder, "on")}`),
  see: (side) =>
    withRequests(
      side,
      `
h.pread (10, 0)
h.pread (10, 0)
touch ("${side.folder}/on")
h.pread (10, 65536)
show (h.pread (10, 65540))
os.unlink ("${side.folder}/on")
h.cache (65536, 131072)
show (h.pread (10, 131080))
`,
    ),
  expected: [
    ["11111111111111111111", "11111111111111111111"],
    [
      "Read offset=0x0 count=0x10000",
      "Read offset=0x0 count=0x10000",
      "Read offset=0x10000 count=0x10000",
      "Read offset=0x20000 count=0x10000",
    ],
  ],
});

stock("cache loses no data when it exceeds cache-max-size", {
  ...common,
  filters: ["cache"],
  before: (folder) => writeFileSync(join(folder, "disk"), Buffer.alloc(4 << 20, 0x11)),
  params: (folder) => [
    join(folder, "disk"),
    "cache-min-block-size=64K",
    "cache=writethrough",
    "cache-max-size=1M",
    "cache-high-threshold=90",
    "cache-low-threshold=50",
  ],
  see: ({ server, folder }) =>
    nbdsh(
      server,
      `
wanted = b"".join (bytes ([block & 255] * 512) for block in range (6000))
for at in range (0, len (wanted), 30 * 512):
    h.pwrite (wanted[at:at + 30 * 512], at)
show (h.pread (len (wanted), 0) == wanted)
h.flush ()
show (open ("${folder}/disk", "rb").read () == wanted + bytes ([0x11] * (4194304 - len (wanted))))
`,
    ),
  expected: [true, true],
});

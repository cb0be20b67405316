/** The genuine blocksize filter: it aligns and splits requests. */
import { join } from "node:path";

import { refuses } from "../cases.ts";
import { stock, withRequests } from "../stock.ts";

const params = (folder: string, ...more: readonly string[]) => [
  "size=40000",
  `logfile=${join(folder, "log")}`,
  ...more,
];

stock("blocksize aligns and splits requests", {
  filters: ["blocksize", "log"],
  plugin: "memory",
  params: (folder) => params(folder, "minblock=4096", "maxdata=8192", "maxlen=16k"),
  see: (side) =>
    withRequests(
      side,
      `
h.pwrite (b"0123456789", 4090)
show ([h.get_size (), h.pread (14, 4088), errno (lambda: h.pread (1, 36864))])
show (block_sizes ())
h.pwrite (bytes ([1] * 20000), 8192, nbd.CMD_FLAG_FUA)
h.pread (20000, 1)
h.zero (30000, 100)
h.trim (30000, 100)
h.cache (36864, 0)
show (extents (30000, 0))
show (h.pread (16, 20000 + 8192 - 8))
`,
    ),
  expected: [
    [
      [36864, "0000303132333435363738390000", "EINVAL"],
      [1, 4096, 4294967295],
      "32768 hole+zero",
      "00000000000000000000000000000000",
    ],
    [
      "Read offset=0x0 count=0x1000",
      "Write offset=0x0 count=0x1000 fua=0",
      "Read offset=0x1000 count=0x1000",
      "Write offset=0x1000 count=0x1000 fua=0",
      "Read offset=0x0 count=0x1000",
      "Read offset=0x1000 count=0x1000",
      "Write offset=0x2000 count=0x2000 fua=1",
      "Write offset=0x4000 count=0x2000 fua=1",
      "Read offset=0x6000 count=0x1000",
      "Write offset=0x6000 count=0x1000 fua=1",
      "Read offset=0x0 count=0x1000",
      "Read offset=0x1000 count=0x2000",
      "Read offset=0x3000 count=0x1000",
      "Read offset=0x4000 count=0x1000",
      "Read offset=0x0 count=0x1000",
      "Write offset=0x0 count=0x1000 fua=0",
      "Zero offset=0x1000 count=0x4000 trim=1 fua=0 fast=0",
      "Zero offset=0x5000 count=0x2000 trim=1 fua=0 fast=0",
      "Read offset=0x7000 count=0x1000",
      "Write offset=0x7000 count=0x1000 fua=0",
      "Trim offset=0x1000 count=0x4000 fua=0",
      "Trim offset=0x5000 count=0x2000 fua=0",
      "Cache offset=0x0 count=0x2000",
      "Cache offset=0x2000 count=0x2000",
      "Cache offset=0x4000 count=0x2000",
      "Cache offset=0x6000 count=0x2000",
      "Cache offset=0x8000 count=0x1000",
      "Extents offset=0x0 count=0x4000 req_one=0",
      '...Extents extents=(0x0 0x8000 "hole,zero") return=0',
      "Read offset=0x6000 count=0x1000",
    ],
  ],
});

stock("blocksize asks for extents in aligned pieces", {
  filters: ["blocksize"],
  plugin: "data",
  params: () => ["data=@4096 1 @8192 1*4096 @65536", "size=65536", "minblock=8192"],
  see: `show ([extents (65536, 0), extents (10, 4), extents (50000, 12289)])`,
  expected: ["32768 data, 32768 hole+zero", "8188 data", "20479 data, 32768 hole+zero"],
});

refuses("blocksize refuses a block size that is not a power of two", {
  filters: ["blocksize"],
  plugin: "memory",
  params: () => ["1M", "minblock=1000"],
  error: "minblock must be a power of 2",
});

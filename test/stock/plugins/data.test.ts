/** The genuine data plugin: it serves a disk that is described in a small language. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { refuses } from "../cases.ts";
import { stock } from "../stock.ts";
import { dumps } from "./dumped.ts";

stock("data makes a disk of bytes, words, strings, offsets, files, scripts, groups and names", {
  plugin: "data",
  params: (folder) => [
    `
      1 0x2 03 255           # numbers
      le16:0x0102 be16:0x0102 le32:1 be32:1 le64:2 be64:2
      "text\\n\\x41\\"q"
      @0x40 0xAA @+2 0xBB @-1 0xCC @^16 0xDD
      @0x60 <${join(folder, "file")}
      ( 0x55 0xAA )*4 ( "abcdef" )[2:4] "xyz"[:1] "uvw"[1:]
      ( 7 8 -> \\two ( \\two 9 )*2 ) -> \\name \\name
      <( printf hello; printf world )
      $p $ENVIRONMENT
      @^512
    `,
    "p=(1 2)*2",
  ],
  env: () => ({ ENVIRONMENT: "0xEE*3" }),
  before: (folder) => {
    writeFileSync(join(folder, "file"), "from a file");
  },
  see: `
show (h.get_size ())
show (h.pread (64, 0))
show (h.pread (96, 64))
show (h.pread (8, 504))
show (extents (h.get_size (), 0))
h.pwrite (b"new", 0, nbd.CMD_FLAG_FUA)
show ([client ().pread (4, 0), errno (lambda: h.pwrite (b"x", h.get_size ()))])
show (flags ())
`,
  expected: [
    512,
    "010203ff02010102010000000000000102000000000000000000000000000002746578740a412271000000000000000000000000000000000000000000000000",
    "aa0000cc000000000000000000000000dd00000000000000000000000000000066726f6d20612066696c6555aa55aa55aa55aa6364787677070809080968656c6c6f776f726c6401020102eeeeee000000000000000000000000000000000000",
    "0000000000000000",
    "512 data",
    ["6e6577ff", "ENOSPC"],
    "flush fua trim zero fast_zero multi_conn cache df",
  ],
});

stock("data serves base64, padded to a size", {
  plugin: "data",
  params: () => ["base64=MTIz", "size=1M", "allocator=zstd"],
  see: "show ([h.get_size (), h.pread (5, 0), extents (1048576, 0)])",
  expected: [1048576, "3132330000", "32768 data, 1015808 hole+zero"],
});

stock("data cuts raw text at a size", {
  options: ["-r"],
  plugin: "data",
  params: () => ["raw=Hello, world!", "size=5", "allocator=malloc"],
  see: "show ([h.get_size (), h.pread (5, 0), extents (5, 0), flags ()])",
  expected: [5, "48656c6c6f", "5 data", "read_only flush multi_conn cache df"],
});

refuses("data refuses a byte above 255", {
  plugin: "data",
  params: () => ["data=1 2 256"],
  error: "data parameter BYTE must be in the range 0..255",
});

refuses("data requires exactly one kind of data", {
  plugin: "data",
  params: () => ["raw=1", "base64=MTIz"],
  error: "raw|base64|data parameter must be specified exactly once",
});

dumps(
  "data",
  `
name=data version=1.32.5 api_version=2 struct_size=384 max_thread_model=parallel thread_model=parallel
errno_is_preserved=1 magic_config_key=data
unload dump_plugin config config_complete config_help get_ready open get_size can_fast_zero can_fua
can_multi_conn can_cache pread pwrite flush trim zero extents
data_base64=yes mlock=yes zstd=yes
`,
);

/** The genuine example1 plugin: it serves a partition table followed by zeros. */
import { stock } from "../stock.ts";
import { dumps } from "./dumped.ts";

stock("example1 serves its partition table read-only", {
  plugin: "example1",
  see: `
show ([h.get_size (), h.pread (66, 446), h.pread (4, 104857596), extents (65536, 0)])
show (flags ())
show (errnos (lambda: h.pwrite (b"x", 0), lambda: h.zero (512, 0), lambda: h.pread (2, 104857599)))
`,
  expected: [
    [
      104857600,
      "0002030083bc310c80000000011f030000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000055aa",
      "00000000",
      "65536 data",
    ],
    "read_only df",
    ["EPERM", "EPERM", "EINVAL"],
  ],
});

dumps(
  "example1",
  `
name=example1 version=1.32.5 api_version=2 struct_size=384 max_thread_model=serialize_all_requests
thread_model=serialize_all_requests errno_is_preserved=0
load open get_size pread
`,
);

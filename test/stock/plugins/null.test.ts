/** The genuine null plugin: it reads zeros and discards writes. */
import { stock } from "../stock.ts";
import { dumps } from "./dumped.ts";

stock("null discards writes and is one hole", {
  plugin: "null",
  params: () => ["1M"],
  see: `
show (flags ())
h.pwrite (b"x" * 512, 4096, nbd.CMD_FLAG_FUA)
h.zero (4096, 0, nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_NO_HOLE)
h.trim (512, 0)
h.cache (512, 0)
h.flush ()
show (h.pread (8, 4096))
show (extents (h.get_size (), 0))
show (extents (4096, 512, nbd.CMD_FLAG_REQ_ONE))
show (errnos (lambda: h.pread (1, 1048576), lambda: h.pwrite (b"xx", 1048575), lambda: h.trim (512, 1 << 40)))
`,
  expected: [
    "flush fua trim zero fast_zero multi_conn cache df",
    "0000000000000000",
    "1048576 hole+zero",
    "4096 hole+zero",
    ["EINVAL", "ENOSPC", "EINVAL"],
  ],
});

stock("null serves the largest size", {
  plugin: "null",
  params: () => ["size=9223372036854775807"],
  see: "show ([str (h.get_size ()), h.pread (4, h.get_size () - 4), extents (512, 1 << 62)])",
  expected: ["9223372036854775807", "00000000", "4294967295 hole+zero"],
  differs: {
    why: "ours cuts an extent of more than 32 bits at a multiple of 64K, so that clients stay aligned",
    expected: ["9223372036854775807", "00000000", "4294901760 hole+zero"],
  },
});

stock("null is empty without a size", {
  options: ["-r"],
  plugin: "null",
  see: "show ([h.get_size (), h.is_read_only (), errno (lambda: h.pread (1, 0))])",
  expected: [0, true, "EINVAL"],
});

dumps(
  "null",
  `
name=null version=1.32.5 api_version=2 struct_size=384 max_thread_model=parallel thread_model=parallel
errno_is_preserved=1 magic_config_key=size
config config_help open get_size can_fast_zero can_fua can_multi_conn can_cache pread pwrite flush trim zero
extents
`,
);

/** The genuine null plugin: any size, reads zeros, forgets what is written. */
import { nbdsh, stock, stockCommand } from "../stock.ts";
import { dumped } from "./dumped.ts";

stock("null forgets what is written and is one hole", {
  plugin: "null",
  params: () => ["1M"],
  see: ({ server }) =>
    nbdsh(
      server,
      `
show (flags ())
h.pwrite (b"x" * 512, 4096, nbd.CMD_FLAG_FUA)
h.zero (4096, 0, nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_NO_HOLE)
h.trim (512, 0)
h.cache (512, 0)
h.flush ()
show (h.pread (8, 4096))
show (extents (h.get_size (), 0))
show (extents (4096, 512, nbd.CMD_FLAG_REQ_ONE))
show ([errno (lambda: h.pread (1, 1048576)), errno (lambda: h.pwrite (b"xx", 1048575)), errno (lambda: h.trim (512, 1 << 40))])
`,
    ),
  expected: [
    {
      is_read_only: false,
      can_flush: true,
      can_fua: true,
      is_rotational: false,
      can_trim: true,
      can_zero: true,
      can_fast_zero: true,
      can_multi_conn: true,
      can_cache: true,
      can_df: true,
    },
    "0000000000000000",
    [[1048576, 3]],
    [[4096, 3]],
    ["EINVAL", "ENOSPC", "EINVAL"],
  ],
});

stock("null is as large as a disk can be", {
  plugin: "null",
  params: () => ["size=9223372036854775807"],
  see: ({ server }) =>
    nbdsh(
      server,
      "show ([str (h.get_size ()), h.pread (4, h.get_size () - 4), extents (512, 1 << 62)])",
    ),
  expected: ["9223372036854775807", "00000000", [[4294967295, 3]]],
  differs: {
    why: "ours cuts what is longer than a block of a reply at a multiple of 64K, so that clients stay aligned",
    expected: ["9223372036854775807", "00000000", [[4294901760, 3]]],
  },
});

stock("null is empty without a size", {
  options: ["-r"],
  plugin: "null",
  see: ({ server }) =>
    nbdsh(server, "show ([h.get_size (), h.is_read_only (), errno (lambda: h.pread (1, 0))])"),
  expected: [0, true, "EINVAL"],
});

stockCommand("null tells what it has", {
  options: ["--dump-plugin"],
  plugin: "null",
  see: dumped,
  expected: {
    code: 0,
    lines: [
      "name=null",
      "version=1.32.5",
      "api_version=2",
      "struct_size=384",
      "max_thread_model=parallel",
      "thread_model=parallel",
      "errno_is_preserved=1",
      "magic_config_key=size",
      "has_config=1",
      "has_config_help=1",
      "has_open=1",
      "has_get_size=1",
      "has_can_fast_zero=1",
      "has_can_fua=1",
      "has_can_multi_conn=1",
      "has_can_cache=1",
      "has_pread=1",
      "has_pwrite=1",
      "has_flush=1",
      "has_trim=1",
      "has_zero=1",
      "has_extents=1",
    ],
  },
});

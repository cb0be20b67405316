/** The genuine memory plugin: a disk in memory, with three ways to keep it. */
import { run } from "#test/server";

import { nbdsh, type Side, stock, stockCommand } from "../stock.ts";
import { dumped } from "./dumped.ts";

/** Write, trim and zero here and there, then tell the content and what is allocated. */
const writes = ({ server }: Side) =>
  nbdsh(
    server,
    `
h.pwrite (b"a" * 512, 32768 * 3 + 512)
h.pwrite (b"b" * 65536, 32768 * 32 - 100, nbd.CMD_FLAG_FUA)
h.zero (32768, 32768 * 33)
h.trim (32768, 32768 * 32)
h.zero (512, 32768 * 3 + 768, nbd.CMD_FLAG_NO_HOLE)
h.flush ()
h.cache (4096, 0)
second = client ()
show ([h.pread (2, 32768 * 3 + 511), second.pread (4, 32768 * 3 + 766), second.pread (4, 32768 * 32 - 2)])
show (extents (h.get_size (), 0))
show (extents (h.get_size () - 100000, 100000))
show (extents (h.get_size (), 0, nbd.CMD_FLAG_REQ_ONE))
show (flags ())
show ([errno (lambda: h.pread (1, h.get_size ())), errno (lambda: h.pwrite (b"xx", h.get_size () - 1))])
`,
  );

stock("memory keeps what is written sparsely", {
  plugin: "memory",
  params: () => ["size=4M"],
  see: writes,
  expected: [
    ["0061", "61610000", "62620000"],
    [
      [98304, 3],
      [32768, 0],
      [884736, 3],
      [32768, 0],
      [3145728, 3],
    ],
    [
      [31072, 2],
      [884736, 3],
      [32768, 0],
      [3145728, 3],
    ],
    [[98304, 3]],
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
    ["EINVAL", "ENOSPC"],
  ],
});

stock("memory keeps all of the disk with allocator=malloc", {
  plugin: "memory",
  params: () => ["size=4M", "allocator=malloc,mlock=true"],
  see: writes,
  expected: [
    ["0061", "61610000", "62620000"],
    [[4194304, 0]],
    [[4094304, 0]],
    [[4194304, 0]],
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
    ["EINVAL", "ENOSPC"],
  ],
});

stock("memory keeps what is written compressed with allocator=zstd", {
  plugin: "memory",
  params: () => ["size=4M", "allocator=zstd"],
  see: writes,
  expected: [
    ["0061", "61610000", "62620000"],
    [
      [98304, 3],
      [32768, 0],
      [884736, 3],
      [32768, 0],
      [3145728, 3],
    ],
    [
      [31072, 2],
      [884736, 3],
      [32768, 0],
      [3145728, 3],
    ],
    [[98304, 3]],
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
    ["EINVAL", "ENOSPC"],
  ],
});

stock("memory holds a disk of the largest size, and tells its size", {
  plugin: "memory",
  params: () => ["9223372036854775807"],
  needs: ["nbdinfo"],
  see: async ({ server }) => [
    await nbdsh(
      server,
      `
last = h.get_size () - 5
h.pwrite (b"end", last)
h.pwrite (b"middle", 1 << 62)
show ([h.pread (5, last), client ().pread (6, 1 << 62)])
show (extents (4096, 1 << 62))
`,
    ),
    (await run(["nbdinfo", "--size", server.uri])).stdout,
  ],
  expected: [[["656e640000", "6d6964646c65"], [[32768, 0]]], "9223372036854775807\n"],
});

stockCommand("memory tells what it has", {
  options: ["--dump-plugin"],
  plugin: "memory",
  see: dumped,
  expected: {
    code: 0,
    lines: [
      "name=memory",
      "version=1.32.5",
      "api_version=2",
      "struct_size=384",
      "max_thread_model=parallel",
      "thread_model=parallel",
      "errno_is_preserved=1",
      "magic_config_key=size",
      "has_unload=1",
      "has_dump_plugin=1",
      "has_config=1",
      "has_config_complete=1",
      "has_config_help=1",
      "has_get_ready=1",
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
      "mlock=yes",
      "zstd=yes",
    ],
  },
});

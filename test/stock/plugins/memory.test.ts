/** The genuine memory plugin: it serves a disk in memory, with three allocators. */
import { run } from "#test/server";

import { nbdsh, stock } from "../stock.ts";
import { dumps } from "./dumped.ts";

const sparse = [
  "98304 hole+zero, 32768 data, 884736 hole+zero, 32768 data, 3145728 hole+zero",
  "31072 zero, 884736 hole+zero, 32768 data, 3145728 hole+zero",
  "98304 hole+zero",
];

// The script writes, trims and zeroes, then shows the content and the allocated extents.
for (const [title, more, allocated] of [
  ["written blocks by default", [], sparse],
  [
    "the whole disk with allocator=malloc",
    ["allocator=malloc,mlock=true"],
    ["4194304 data", "4094304 data", "4194304 data"],
  ],
  ["written blocks compressed with allocator=zstd", ["allocator=zstd"], sparse],
] as const)
  stock(`memory keeps ${title}`, {
    plugin: "memory",
    params: () => ["size=4M", ...more],
    see: `
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
show (errnos (lambda: h.pread (1, h.get_size ()), lambda: h.pwrite (b"xx", h.get_size () - 1)))
`,
    expected: [
      ["0061", "61610000", "62620000"],
      ...allocated,
      "flush fua trim zero fast_zero multi_conn cache df",
      ["EINVAL", "ENOSPC"],
    ],
  });

stock("memory serves a disk of the largest size", {
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
  expected: [[["656e640000", "6d6964646c65"], "32768 data"], "9223372036854775807\n"],
});

dumps(
  "memory",
  `
name=memory version=1.32.5 api_version=2 struct_size=384 max_thread_model=parallel thread_model=parallel
errno_is_preserved=1 magic_config_key=size
unload dump_plugin config config_complete config_help get_ready open get_size can_fast_zero can_fua
can_multi_conn can_cache pread pwrite flush trim zero extents
mlock=yes zstd=yes
`,
);

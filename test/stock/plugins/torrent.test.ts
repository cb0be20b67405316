/** The genuine torrent plugin: a file that comes from peers. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { nbdsh, ran, stock, stockCommand } from "../stock.ts";
import { dumped } from "./dumped.ts";
import { loopback, swarm, writeContent, writeTorrent } from "./swarm.ts";

stock("torrent serves the largest file from a peer", {
  plugin: "torrent",
  params: (folder) => [
    join(folder, "stock.torrent"),
    ...loopback,
    "connections-limit=10",
    "download-rate-limit=0",
    "upload-rate-limit=1M",
    "user-agent=stock/1.0",
  ],
  before: swarm,
  env: (folder) => ({ TMPDIR: folder }),
  see: ({ server }) =>
    nbdsh(
      server,
      `
import hashlib
show ([h.get_size (), h.pread (8, 250000)])
show (hashlib.sha256 (h.pread (300000, 0)).hexdigest ())
show ([errno (lambda: h.pread (1, 300000)), errno (lambda: h.pwrite (b"x", 0)), extents (300000, 0)])
show (flags ())
`,
    ),
  expected: [
    [300000, "c0c7ced5dce3eaf1"],
    "d08928a168952dcd1f23061570816ee3b9d5c5c01ec65e00adbda68d328f4dbb",
    ["EINVAL", "EPERM", [[300000, 0]]],
    {
      is_read_only: true,
      can_flush: false,
      can_fua: false,
      is_rotational: false,
      can_trim: false,
      can_zero: false,
      can_fast_zero: false,
      can_multi_conn: false,
      can_cache: false,
      can_df: true,
    },
  ],
});

stock("torrent serves the file that is named, from its cache", {
  plugin: "torrent",
  params: (folder) => [
    `torrent=${join(folder, "stock.torrent")}`,
    "file=stock/README",
    `cache=${join(folder, "cache")}`,
    ...loopback,
  ],
  before: (folder) => {
    mkdirSync(join(folder, "cache"));
    writeContent(join(folder, "cache"));
    writeTorrent(folder, "http://127.0.0.1:9/announce");
  },
  see: ({ server }) => nbdsh(server, "show (h.pread (h.get_size (), 0).decode ())"),
  expected: "not the largest\n",
});

stockCommand("torrent refuses a file that is no torrent", {
  options: ["-f"],
  plugin: "torrent",
  params: (folder) => [join(folder, "text")],
  before: (folder) => writeFileSync(join(folder, "text"), "text"),
  env: (folder) => ({ TMPDIR: folder }),
  see: ran,
  expected: {
    code: 1,
    errors: [
      "nbdkit: error: parsing torrent metadata failed: expected value (list, dict, int or string) in bencoded string",
    ],
  },
});

stockCommand("torrent tells what it has", {
  options: ["--dump-plugin"],
  plugin: "torrent",
  see: dumped,
  expected: {
    code: 0,
    lines: [
      "name=torrent",
      "version=1.32.5",
      "api_version=2",
      "struct_size=384",
      "max_thread_model=parallel",
      "thread_model=parallel",
      "errno_is_preserved=0",
      "magic_config_key=torrent",
      "has_longname=1",
      "has_unload=1",
      "has_config=1",
      "has_config_complete=1",
      "has_config_help=1",
      "has_after_fork=1",
      "has_preconnect=1",
      "has_open=1",
      "has_close=1",
      "has_get_size=1",
      "has_pread=1",
    ],
  },
});

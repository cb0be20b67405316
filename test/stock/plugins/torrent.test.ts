/** The genuine torrent plugin: it downloads a file from peers. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { refuses } from "../cases.ts";
import { ownTmp, stock } from "../stock.ts";
import { dumps } from "./dumped.ts";
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
  env: ownTmp,
  see: `
show ([h.get_size (), h.pread (8, 250000)])
show (sha256 (h.pread (300000, 0)))
show ([errno (lambda: h.pread (1, 300000)), errno (lambda: h.pwrite (b"x", 0)), extents (300000, 0)])
show (flags ())
`,
  expected: [
    [300000, "c0c7ced5dce3eaf1"],
    "d08928a168952dcd1f23061570816ee3b9d5c5c01ec65e00adbda68d328f4dbb",
    ["EINVAL", "EPERM", "300000 data"],
    "read_only df",
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
  see: "show (h.pread (h.get_size (), 0).decode ())",
  expected: "not the largest\n",
});

refuses("torrent refuses a file that is not a torrent", {
  plugin: "torrent",
  params: (folder) => [join(folder, "text")],
  before: (folder) => writeFileSync(join(folder, "text"), "text"),
  env: ownTmp,
  error:
    "parsing torrent metadata failed: expected value (list, dict, int or string) in bencoded string",
});

dumps(
  "torrent",
  `
name=torrent version=1.32.5 api_version=2 struct_size=384 max_thread_model=parallel thread_model=parallel
errno_is_preserved=0 magic_config_key=torrent
longname unload config config_complete config_help after_fork preconnect open close get_size pread
`,
);

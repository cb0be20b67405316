/** The genuine tmpdisk plugin: it makes a new file system for each client. */
import { readdirSync } from "node:fs";
import { join } from "node:path";

import { run, until } from "#test/server";

import { refuses } from "../cases.ts";
import { nbdsh, ownTmp, stock } from "../stock.ts";

stock("tmpdisk makes a file system for each client, and removes it", {
  plugin: "tmpdisk",
  params: () => ["16M", "label=STOCK"],
  env: ownTmp,
  needs: ["mkfs.ext4", "dumpe2fs", "nbdcopy"],
  see: async ({ server, folder }) => {
    const seen = await nbdsh(
      server,
      `
h.pwrite (b"mine", 0, nbd.CMD_FLAG_FUA)
h.flush ()
h.trim (65536, 8 << 20)
h.zero (4096, 9 << 20)
other = client ()
show ([h.get_size (), h.pread (4, 0), other.pread (4, 0), h.pread (2, 1080)])
show (errnos (lambda: h.pread (1, 16 << 20), lambda: h.pwrite (b"xx", (16 << 20) - 1)))
show (flags ())
`,
    );
    // The plugin removes the file of a connection some time after the client has left.
    await until(() => readdirSync(folder).length === 0);
    const copy = join(folder, "copy");
    await run(["nbdcopy", server.uri, copy]);
    const { stdout } = await run(["dumpe2fs", "-h", copy]);
    const header = stdout
      .split("\n")
      .filter((line) => /^Filesystem (volume name|magic)/.test(line));
    await until(() => readdirSync(folder).length === 1);
    return [seen, header, readdirSync(folder)];
  },
  expected: [
    [
      [16777216, "6d696e65", "00000000", "53ef"],
      ["EINVAL", "ENOSPC"],
      "flush fua trim zero fast_zero df",
    ],
    ["Filesystem volume name:   STOCK", "Filesystem magic number:  0xEF53"],
    ["copy"],
  ],
});

stock("tmpdisk makes its disk with a command that gets all parameters as variables", {
  plugin: "tmpdisk",
  params: () => [
    "size=1M",
    "type=none",
    "colour=red",
    'command=printf "$type $colour $label" >"$disk"; truncate -s 4K "$disk"',
    "label=it",
  ],
  env: ownTmp,
  see: "show ([h.get_size (), h.pread (12, 0).decode (), extents (4096, 0)])",
  expected: [4096, "none red it\u0000", "4096 data"],
});

stock("tmpdisk refuses a client if the command fails", {
  plugin: "tmpdisk",
  params: () => ["size=1M", "command=exit 3"],
  env: ownTmp,
  see: async ({ server, folder }) => [
    await nbdsh(server, "show (errno (client))", null),
    // Release 1.32.5 leaves the empty folder of such a client behind.
    readdirSync(folder).length,
  ],
  expected: ["ENOENT", 1],
});

refuses("tmpdisk requires a size", {
  plugin: "tmpdisk",
  error: "size parameter is required",
});

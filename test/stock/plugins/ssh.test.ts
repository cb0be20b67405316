/** The genuine ssh plugin: it serves a file of a real SSH server. */
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { refuses } from "../cases.ts";
import { nbdsh, stock } from "../stock.ts";
import { dumps } from "./dumped.ts";
import { sshd, sshdNeeds, sshParams } from "./sshd.ts";

stock("ssh reads and writes a file over SFTP", {
  plugin: "ssh",
  params: (folder) => [join(folder, "disk"), ...sshParams(folder)],
  before: async (folder, peers) => {
    writeFileSync(join(folder, "disk"), "0123456789".repeat(1000));
    await sshd(folder, peers);
  },
  needs: sshdNeeds,
  see: async ({ server, folder }) => [
    await nbdsh(
      server,
      `
show ([h.get_size (), flags ()])
h.pwrite (b"written", 1000)
h.pwrite (b"end", 9997)
show (errno (lambda: h.flush ()))
h.zero (2, 1001)
show ([h.pread (12, 998), h.pread (3, 9997), extents (10000, 0)])
show (errnos (lambda: h.pread (1, 10000), lambda: h.trim (512, 0)))
`,
    ),
    readFileSync(join(folder, "disk"), "latin1").slice(998, 1010),
  ],
  expected: [
    [
      [10000, "flush fua zero fast_zero multi_conn df"],
      null,
      ["38397700007474656e373839", "656e64", "10000 data"],
      ["EINVAL", "EINVAL"],
    ],
    "89w\u0000\u0000tten789",
  ],
});

stock("ssh creates a file for its first client, with compression", {
  plugin: "ssh",
  params: (folder) => [
    `path=${join(folder, "new")}`,
    ...sshParams(folder),
    "create=true",
    "create-size=1M",
    "create-mode=0640",
    "compression=true",
    "timeout=30",
  ],
  before: sshd,
  needs: sshdNeeds,
  see: async ({ server, folder }) => {
    const before = existsSync(join(folder, "new"));
    const seen = await nbdsh(
      server,
      `
h.pwrite (b"a" * 65536, 1048576 - 65536)
show ([h.get_size (), h.pread (2, 1048576 - 65537), client ().pread (1, 1048575)])
`,
    );
    const { size, mode } = statSync(join(folder, "new"));
    return [before, seen, size, (mode & 0o777).toString(8)];
  },
  expected: [false, [1048576, "0061", "61"], 1048576, "640"],
});

stock("ssh serves a read-only file with -r", {
  options: ["-r"],
  plugin: "ssh",
  params: (folder) => [join(folder, "disk"), ...sshParams(folder)],
  before: async (folder, peers) => {
    writeFileSync(join(folder, "disk"), "read", { mode: 0o444 });
    await sshd(folder, peers);
  },
  needs: sshdNeeds,
  see: "show ([h.pread (4, 0), h.is_read_only (), errno (lambda: h.pwrite (b'x', 0))])",
  expected: ["72656164", true, "EPERM"],
});

stock("ssh refuses clients if the file is missing or the host has another key", {
  plugin: "ssh",
  params: (folder) => [join(folder, "missing"), ...sshParams(folder)],
  before: sshd,
  needs: sshdNeeds,
  see: async ({ server, folder }) => {
    const first = await nbdsh(server, "show (errno (client))", null);
    await server.printed(/error: cannot open file/);
    const known = join(folder, "known_hosts");
    const other = readFileSync(join(folder, "key.pub"), "utf8");
    writeFileSync(
      known,
      readFileSync(known, "utf8").replace(/ ssh-ed25519 .*/, ` ${other.trim()}`),
    );
    const second = await nbdsh(server, "show (errno (client))", null);
    await server.printed(/error: .*host key/);
    return [first, second];
  },
  expected: ["ENOENT", "ENOENT"],
});

refuses("ssh requires a host and a path", {
  plugin: "ssh",
  error: "you must supply the host and path parameters after the plugin name on the command line",
});

refuses("ssh requires a size to create a file", {
  plugin: "ssh",
  params: () => ["host=127.0.0.1", "/none", "create=true"],
  error:
    "if using create=true, you must specify the size of the new remote file using create-size=SIZE",
});

dumps(
  "ssh",
  `
name=ssh version=1.32.5 api_version=1 struct_size=384 max_thread_model=serialize_requests
thread_model=serialize_requests errno_is_preserved=0 magic_config_key=path
unload config config_complete config_help open close get_size can_flush can_multi_conn _pread_v1 _pwrite_v1
_flush_v1
`,
);

/** The genuine nbd plugin: it is a proxy for another server. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { installed, serve } from "#test/server";

import { refuses, refusesClients } from "../cases.ts";
import { nbdsh, serveTcp, stock } from "../stock.ts";
import { dumped, dumps } from "./dumped.ts";
import { listed } from "./listed.ts";

/** Starts Debian's nbdkit. `peer` in the folder is a link to its socket. */
function peer(...args: readonly string[]) {
  return async (folder: string, peers: AsyncDisposableStack) => {
    if (!installed("nbdkit")) return;
    const server = peers.use(await serve(args, { program: ["nbdkit"] }));
    await Bun.$`ln -s ${server.socket} ${join(folder, "peer")}`;
  };
}

for (const [title, parameter, more] of [
  ["passes everything to a server on a Unix socket", "socket=", []],
  ["shares one connection to a URI between its clients", "nbd+unix:///?socket=", ["shared=true"]],
] as const)
  stock(`nbd ${title}`, {
    plugin: "nbd",
    params: (folder) => [parameter + join(folder, "peer"), ...more],
    before: peer("memory", "1M"),
    see: `
show ([h.get_size (), flags ()])
show (block_sizes ())
h.pwrite (b"through", 100000, nbd.CMD_FLAG_FUA)
h.trim (4096, 0)
h.zero (4096, 90000, nbd.CMD_FLAG_FAST_ZERO)
h.zero (2, 100002, nbd.CMD_FLAG_NO_HOLE)
h.cache (4096, 0)
h.flush ()
show ([h.pread (9, 99999), client ("whatever").pread (7, 100000)])
show (extents (1048576, 0))
show (extents (1048576, 0, nbd.CMD_FLAG_REQ_ONE))
show (errnos (lambda: h.pread (1, 1048576), lambda: h.pwrite (b"xx", 1048575)))
`,
    expected: [
      [1048576, "flush fua trim zero fast_zero multi_conn cache df"],
      [0, 0, 0],
      ["007468000075676800", "74680000756768"],
      "98304 hole+zero, 32768 data, 917504 hole+zero",
      "98304 hole+zero",
      ["EINVAL", "ENOSPC"],
    ],
  });

stock("nbd passes block sizes and errors on", {
  plugin: "nbd",
  params: (folder) => [`socket=${join(folder, "peer")}`],
  before: peer(
    "--filter=blocksize-policy",
    "--filter=error",
    "full",
    "64K",
    "blocksize-minimum=512",
    "blocksize-preferred=4096",
    "blocksize-maximum=32768",
    "blocksize-error-policy=error",
    "error-pread=EPERM",
    "error-pread-rate=100%",
  ),
  see: `
show (block_sizes ())
show (errnos (
  lambda: h.pread (512, 0),
  lambda: h.pread (1, 0),
  lambda: h.pwrite (b"x" * 512, 0),
  lambda: h.trim (512, 0),
  lambda: h.zero (512, 0, nbd.CMD_FLAG_FAST_ZERO),
))
`,
  expected: [
    [512, 4096, 32768],
    ["EPERM", "EINVAL", "ENOSPC", "ENOSPC", "ENOTSUP"],
  ],
});

stock("nbd opens the export that its client opens with dynamic-export", {
  plugin: "nbd",
  params: (folder) => [`socket=${join(folder, "peer")}`, "dynamic-export=true"],
  before: peer(
    "eval",
    "list_exports=printf 'INTERLEAVED\\nfirst\\nof it\\nsecond\\nof other\\n'",
    "default_export=echo second",
    "open=echo $3",
    "export_description=echo about $2",
    "get_size=printf %s $2 | wc -c",
    "pread=printf %s $2 | head -c $(($3 + $4)) | tail -c $3",
  ),
  needs: ["nbdinfo"],
  see: async ({ server }) => [
    await listed(server, "export-name", "description", "export-size"),
    await nbdsh(
      server,
      `
show ([client (name).pread (5, 0) for name in ["first", "second", "another", ""]])
show ([client (name).is_read_only () for name in ["first", ""]])
`,
      null,
    ),
  ],
  expected: [
    [
      ["first", "of it", 5],
      ["second", "of other", 6],
    ],
    [
      ["6669727374", "7365636f6e", "616e6f7468", "7365636f6e"],
      [true, true],
    ],
  ],
});

stock("nbd starts a server with command=, and opens export= there", {
  plugin: "nbd",
  params: () => ["command=nbdkit", "arg=info", "arg=exportname", "export=the name"],
  see: "show ([h.pread (h.get_size (), 0).decode (), client ('other').pread (8, 0).decode ()])",
  expected: ["the name", "the name"],
});

stock("nbd connects to a server over TLS with a pre-shared key", {
  plugin: "nbd",
  params: (folder) => [
    "hostname=127.0.0.1",
    `port=${readFileSync(join(folder, "port"), "utf8")}`,
    "tls=require",
    `tls-psk=${join(folder, "keys")}`,
    "tls-username=stock",
  ],
  before: async (folder, peers) => {
    const keys = join(folder, "keys");
    await Bun.$`psktool -u stock -p ${keys}`.quiet();
    const options = ["-f", "-p", "0", "-i", "127.0.0.1", "--tls=require", `--tls-psk=${keys}`];
    const command = ["nbdkit", ...options, "data", "raw=over TLS"];
    const server = peers.use(await serveTcp({ command, env: {}, folder }, "127.0.0.1"));
    writeFileSync(join(folder, "port"), new URL(server.uri).port);
  },
  needs: ["psktool"],
  see: "show (h.pread (h.get_size (), 0).decode ())",
  expected: "over TLS",
});

stock("nbd reads and writes a qcow2 image with qemu-nbd", {
  plugin: "nbd",
  params: (folder) => ["command=qemu-nbd", "arg=-f", "arg=qcow2", `arg=${join(folder, "image")}`],
  before: (folder) => Bun.$`qemu-img create -q -f qcow2 ${join(folder, "image")} 1M`.quiet(),
  needs: ["qemu-nbd", "qemu-img"],
  see: `
h.pwrite (b"q" * 65536, 131072, nbd.CMD_FLAG_FUA)
h.flush ()
show ([h.get_size (), h.pread (2, 131071), extents (1048576, 0), flags ()])
show (block_sizes ())
`,
  expected: [
    [
      1048576,
      "0071",
      "131072 hole+zero, 65536 data, 851968 hole+zero",
      "flush fua trim zero fast_zero cache df",
    ],
    [1, 4096, 33554432],
  ],
});

refusesClients("nbd refuses clients while the server is missing", {
  plugin: "nbd",
  params: (folder) => [`socket=${join(folder, "missing")}`],
  error: "nbd_connect_unix: connect: No such file or directory",
});

refuses("nbd ends if a shared server is missing", {
  // It connects after the fork, when the command of --run may already have ended.
  options: (folder) => ["-f", "-U", join(folder, "sock")],
  plugin: "nbd",
  params: (folder) => [`socket=${join(folder, "missing")}`, "shared=true"],
  error: "nbd_connect_unix: connect: No such file or directory",
});

refuses("nbd requires exactly one server", {
  plugin: "nbd",
  params: () => ["socket=/a", "hostname=b"],
  error:
    "cannot mix Unix ‘socket’, TCP ‘hostname’/‘port’, ‘vsock’, ‘command’, ‘socket-fd’ and ‘uri’ parameters",
});

dumps(
  "nbd",
  `
name=nbd version=1.32.5 api_version=2 struct_size=384 max_thread_model=parallel
thread_model=parallel errno_is_preserved=1 magic_config_key=uri
longname unload dump_plugin config config_complete config_help after_fork list_exports
default_export open close export_description get_size block_size can_write can_flush
is_rotational can_trim can_zero can_fast_zero can_extents can_fua can_multi_conn can_cache pread
pwrite flush trim zero extents cache
libnbd_tls=1 libnbd_uri=1 libnbd_vsock=1 libnbd_dynamic_list=1
`,
  {
    see: (side) => dumped(side, /^libnbd_version=/),
  },
);

/** The genuine nbd plugin: a proxy for another server. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { installed, run, serve } from "#test/server";

import { nbdsh, ran, serveTcp, type Side, stock, stockCommand } from "../stock.ts";
import { dumped } from "./dumped.ts";

/** Debian's nbdkit on the socket that the folder's link `peer` names. */
function peer(...args: readonly string[]) {
  return async (folder: string, peers: AsyncDisposableStack) => {
    if (!installed("nbdkit")) return;
    const server = peers.use(await serve(args, { program: ["nbdkit"] }));
    await Bun.$`ln -s ${server.socket} ${join(folder, "peer")}`;
  };
}

const proxied = ({ server }: Side) =>
  nbdsh(
    server,
    `
show ([h.get_size (), flags ()])
show ([h.get_block_size (at) for at in (nbd.SIZE_MINIMUM, nbd.SIZE_PREFERRED, nbd.SIZE_MAXIMUM)])
h.pwrite (b"through", 100000, nbd.CMD_FLAG_FUA)
h.trim (4096, 0)
h.zero (4096, 90000, nbd.CMD_FLAG_FAST_ZERO)
h.zero (2, 100002, nbd.CMD_FLAG_NO_HOLE)
h.cache (4096, 0)
h.flush ()
show ([h.pread (9, 99999), client ("whatever").pread (7, 100000)])
show (extents (1048576, 0))
show (extents (1048576, 0, nbd.CMD_FLAG_REQ_ONE))
show ([errno (lambda: h.pread (1, 1048576)), errno (lambda: h.pwrite (b"xx", 1048575))])
`,
  );

stock("nbd passes everything to a server on a Unix socket", {
  plugin: "nbd",
  params: (folder) => [`socket=${join(folder, "peer")}`],
  before: peer("memory", "1M"),
  see: proxied,
  expected: [
    [
      1048576,
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
    ],
    [0, 0, 0],
    ["007468000075676800", "74680000756768"],
    [
      [98304, 3],
      [32768, 0],
      [917504, 3],
    ],
    [[98304, 3]],
    ["EINVAL", "ENOSPC"],
  ],
});

stock("nbd shares one connection to a URI between its clients", {
  plugin: "nbd",
  params: (folder) => [`nbd+unix:///?socket=${join(folder, "peer")}`, "shared=true"],
  before: peer("memory", "1M"),
  see: proxied,
  expected: [
    [
      1048576,
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
    ],
    [0, 0, 0],
    ["007468000075676800", "74680000756768"],
    [
      [98304, 3],
      [32768, 0],
      [917504, 3],
    ],
    [[98304, 3]],
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
  see: ({ server }) =>
    nbdsh(
      server,
      `
show ([h.get_block_size (at) for at in (nbd.SIZE_MINIMUM, nbd.SIZE_PREFERRED, nbd.SIZE_MAXIMUM)])
show ([
  errno (lambda: h.pread (512, 0)),
  errno (lambda: h.pread (1, 0)),
  errno (lambda: h.pwrite (b"x" * 512, 0)),
  errno (lambda: h.trim (512, 0)),
  errno (lambda: h.zero (512, 0, nbd.CMD_FLAG_FAST_ZERO)),
])
`,
    ),
  expected: [
    [512, 4096, 32768],
    ["EPERM", "EINVAL", "ENOSPC", "ENOSPC", "ENOTSUP"],
  ],
});

stock("nbd asks for the export that its client asks for", {
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
  see: async ({ server }) => {
    const { stdout } = await run(["nbdinfo", "--list", "--json", server.uri]);
    return [
      JSON.parse(stdout).exports.map((item: Record<string, unknown>) => [
        item["export-name"],
        item["description"],
        item["export-size"],
      ]),
      await nbdsh(
        server,
        `
show ([client (name).pread (5, 0) for name in ["first", "second", "another", ""]])
show ([client (name).is_read_only () for name in ["first", ""]])
`,
        null,
      ),
    ];
  },
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

stock("nbd asks for the export of its command line, of a server that it starts itself", {
  plugin: "nbd",
  params: () => ["command=nbdkit", "arg=info", "arg=exportname", "export=the name"],
  see: ({ server }) =>
    nbdsh(
      server,
      "show ([h.pread (h.get_size (), 0).decode (), client ('other').pread (8, 0).decode ()])",
    ),
  expected: ["the name", "the name"],
});

stock("nbd reaches a server over TLS, with a key that both know", {
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
  see: ({ server }) => nbdsh(server, "show (h.pread (h.get_size (), 0).decode ())"),
  expected: "over TLS",
});

stock("nbd reads and writes a qcow2 image with qemu-nbd", {
  plugin: "nbd",
  params: (folder) => ["command=qemu-nbd", "arg=-f", "arg=qcow2", `arg=${join(folder, "image")}`],
  before: (folder) => Bun.$`qemu-img create -q -f qcow2 ${join(folder, "image")} 1M`.quiet(),
  needs: ["qemu-nbd", "qemu-img"],
  see: ({ server }) =>
    nbdsh(
      server,
      `
h.pwrite (b"q" * 65536, 131072, nbd.CMD_FLAG_FUA)
h.flush ()
show ([h.get_size (), h.pread (2, 131071), extents (1048576, 0), flags ()])
show ([h.get_block_size (at) for at in (nbd.SIZE_MINIMUM, nbd.SIZE_PREFERRED, nbd.SIZE_MAXIMUM)])
`,
    ),
  expected: [
    [
      1048576,
      "0071",
      [
        [131072, 3],
        [65536, 0],
        [851968, 3],
      ],
      {
        is_read_only: false,
        can_flush: true,
        can_fua: true,
        is_rotational: false,
        can_trim: true,
        can_zero: true,
        can_fast_zero: true,
        can_multi_conn: false,
        can_cache: true,
        can_df: true,
      },
    ],
    [1, 4096, 33554432],
  ],
});

stock("nbd refuses a client while there is no server", {
  plugin: "nbd",
  params: (folder) => [`socket=${join(folder, "nobody")}`],
  see: ({ server }) => nbdsh(server, "show (errno (lambda: client ()) is not None)", null),
  expected: true,
});

stockCommand("nbd ends where a shared server is not there", {
  options: ["-f"],
  plugin: "nbd",
  params: (folder) => [
    `socket=${join(folder, "nobody")}`,
    "shared=true",
    "-U",
    join(folder, "sock"),
  ],
  see: ran,
  expected: {
    code: 1,
    errors: ["nbdkit: error: nbd_connect_unix: connect: No such file or directory"],
  },
});

stockCommand("nbd wants to know one server", {
  plugin: "nbd",
  params: () => ["socket=/a", "hostname=b"],
  see: ran,
  expected: {
    code: 1,
    errors: [
      "nbdkit: error: cannot mix Unix ‘socket’, TCP ‘hostname’/‘port’, ‘vsock’, ‘command’, ‘socket-fd’ and ‘uri’ parameters",
    ],
  },
});

stockCommand("nbd tells what it has", {
  options: ["--dump-plugin"],
  plugin: "nbd",
  see: (side) => dumped(side, /^libnbd_version=/),
  expected: {
    code: 0,
    lines: [
      "name=nbd",
      "version=1.32.5",
      "api_version=2",
      "struct_size=384",
      "max_thread_model=parallel",
      "thread_model=parallel",
      "errno_is_preserved=1",
      "magic_config_key=uri",
      "has_longname=1",
      "has_unload=1",
      "has_dump_plugin=1",
      "has_config=1",
      "has_config_complete=1",
      "has_config_help=1",
      "has_after_fork=1",
      "has_list_exports=1",
      "has_default_export=1",
      "has_open=1",
      "has_close=1",
      "has_export_description=1",
      "has_get_size=1",
      "has_block_size=1",
      "has_can_write=1",
      "has_can_flush=1",
      "has_is_rotational=1",
      "has_can_trim=1",
      "has_can_zero=1",
      "has_can_fast_zero=1",
      "has_can_extents=1",
      "has_can_fua=1",
      "has_can_multi_conn=1",
      "has_can_cache=1",
      "has_pread=1",
      "has_pwrite=1",
      "has_flush=1",
      "has_trim=1",
      "has_zero=1",
      "has_extents=1",
      "has_cache=1",
      "libnbd_tls=1",
      "libnbd_uri=1",
      "libnbd_vsock=1",
      "libnbd_dynamic_list=1",
    ],
  },
});

/** The genuine eval plugin: shell scripts as parameters. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

import { run, until } from "#test/server";

import { captive, errors, nbdsh, stock, stockCommand } from "../stock.ts";
import { dumps } from "./dumped.ts";

stock("eval has the capabilities for which it has scripts", {
  plugin: "eval",
  params: (folder) => [
    `config=echo "config $2=$3" >>${folder}/log`,
    `config_complete=truncate -s 64K $tmpdir/disk; echo "$tmpdir" >${folder}/tmpdir`,
    `get_ready=echo get_ready >>${folder}/log`,
    `preconnect=echo preconnect $2 >>${folder}/log`,
    'open=echo "handle-$3"',
    `close=echo "close $2" >>${folder}/log`,
    "get_size=stat -Lc %s $tmpdir/disk",
    "block_size=echo 512 4K 64K",
    "pread=dd if=$tmpdir/disk skip=$4 count=$3 iflag=skip_bytes,count_bytes status=none",
    "pwrite=dd of=$tmpdir/disk seek=$4 oflag=seek_bytes conv=notrunc status=none",
    `flush=echo flush >>${folder}/log`,
    `trim=echo "trim $3 $4 $5" >>${folder}/log`,
    `zero=echo "zero $3 $4 $5" >>${folder}/log; echo ENOTSUP >&2; exit 1`,
    "can_fast_zero=exit 0",
    "extents=echo 0 32K; echo 32K 32K hole",
    `cache=echo "cache $3 $4" >>${folder}/log`,
    "export_description=echo export of $2",
    'list_exports=printf "NAMES+DESCRIPTIONS\\na\\nb\\nof a\\nof b\\n"',
    "default_export=echo b",
    `unload=echo unload >>${folder}/log`,
    "other=parameter",
  ],
  see: async ({ server, folder }) => {
    const seen = await nbdsh(
      server,
      `
show ([h.get_size (), flags ()])
show (block_sizes ())
h.pwrite (b"new" * 200, 512)
h.pwrite (b"fua" * 512, 1024, nbd.CMD_FLAG_FUA)
h.trim (512, 4096)
h.zero (512, 512)
show (errno (lambda: h.zero (512, 8192, nbd.CMD_FLAG_FAST_ZERO)))
h.cache (1024, 0)
show ([h.pread (4, 1022), extents (65536, 0)])
h.shutdown ()
`,
    );
    const log = () => readFileSync(join(folder, "log"), "utf8").trimEnd().split("\n");
    // The server may stop before it has closed the connection of a client that has left.
    await until(() => log().includes("close handle-b"));
    await server.stop();
    const tmpdir = readFileSync(join(folder, "tmpdir"), "utf8").trim();
    return [seen, log(), existsSync(tmpdir)];
  },
  expected: [
    [
      [65536, "flush fua trim zero fast_zero cache df"],
      [512, 4096, 65536],
      "ENOTSUP",
      ["00006675", "32768 data, 32768 hole"],
    ],
    [
      "config other=parameter",
      "get_ready",
      "preconnect false",
      "flush",
      "trim 512 4096 ",
      "zero 512 512 may_trim",
      "zero 512 8192 may_trim,fast",
      "cache 1024 0",
      "close handle-b",
      "unload",
    ],
    false,
  ],
});

stock("eval maps errors of scripts to errors of NBD", {
  plugin: "eval",
  params: () => [
    "get_size=echo 1M",
    "pread=[ $4 -ge 512 ] || { echo EIO first sector >&2; exit 1; }; head -c $3 /dev/zero",
    "pwrite=cat >/dev/null; echo ENOSPC full >&2; exit 1",
    "trim=echo EPERM >&2; exit 9",
    "flush=exit 1",
    "can_fua=echo none",
    "can_zero=exit 3",
    "is_rotational=exit 0",
    "can_multi_conn=exit 3",
  ],
  see: `
show (flags ())
show ([
  errno (lambda: h.pread (512, 0)),
  h.pread (1, 512),
  errno (lambda: h.pwrite (b"x", 0)),
  errno (lambda: h.zero (512, 0)),
  errno (lambda: h.trim (512, 0)),
  errno (lambda: h.flush ()),
  extents (1048576, 0),
])
`,
  expected: [
    "flush rotational trim zero fast_zero df",
    ["EIO", "00", "ENOSPC", "ENOSPC", "EPERM", "EIO", "1048576 data"],
  ],
});

stock("eval calls missing for methods without a script", {
  plugin: "eval",
  params: (folder) => [
    "get_size=echo 512",
    "pread=head -c $3 /dev/zero",
    `missing=echo "$1" >>${folder}/missing; exit 2`,
  ],
  see: async ({ server, folder }) => {
    const seen = await nbdsh(server, "show ([h.get_size (), flags ()])");
    const log = () => readFileSync(join(folder, "missing"), "utf8").trimEnd().split("\n");
    await until(() => log().includes("close"));
    await server.stop();
    return [seen, [...new Set(log())].toSorted()];
  },
  expected: [
    [512, "read_only df"],
    [
      "after_fork",
      "block_size",
      "can_cache",
      "can_extents",
      "can_flush",
      "can_multi_conn",
      "can_write",
      "close",
      "config_complete",
      "default_export",
      "get_ready",
      "is_rotational",
      "open",
      "preconnect",
      "thread_model",
      "unload",
    ],
  ],
});

stockCommand("eval refuses parameters without a config script", {
  options: captive,
  plugin: "eval",
  params: () => ["get_size=echo 0", "colour=red"],
  see: async ({ command }) => {
    const { code, stderr } = await run(command);
    // The plugin leaves its folder behind when it does not start.
    const folder = /\/tmp\/nbdkit\w{6}/.exec(stderr)?.[0] ?? "none";
    rmSync(folder, { recursive: true });
    return { code, errors: errors(stderr, folder) };
  },
  expected: {
    code: 1,
    errors: [
      "nbdkit: error: FOLDER/missing: callback 'colour' is unknown, and there is no 'config' callback to handle it",
    ],
  },
});

dumps(
  "eval",
  `
name=eval version=1.32.5 api_version=2 struct_size=384 max_thread_model=parallel
thread_model=parallel errno_is_preserved=1
load unload dump_plugin config config_complete config_help thread_model get_ready after_fork
preconnect list_exports default_export open close export_description get_size block_size
can_write can_flush is_rotational can_trim can_zero can_fast_zero can_extents can_fua
can_multi_conn can_cache pread pwrite flush trim zero extents cache
max_known_status=3 mine=yes
`,
  {
    params: () => ["dump_plugin=echo mine=yes", "thread_model=echo parallel"],
  },
);

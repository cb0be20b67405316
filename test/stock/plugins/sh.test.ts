/** The genuine sh plugin: it runs a shell script for each call. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { until } from "#test/server";

import { refuses } from "../cases.ts";
import { nbdsh, stock } from "../stock.ts";
import { dumps } from "./dumped.ts";
import { listed } from "./listed.ts";

/** Writes the script into the folder. Returns its path. */
function script(folder: string, text: string): string {
  const path = join(folder, "script");
  writeFileSync(path, text, { mode: 0o755 });
  return path;
}

/** The calls of the script, without reads and queries. */
function logged(folder: string): string[] {
  return readFileSync(join(folder, "log"), "utf8").trimEnd().split("\n");
}

const everything = `#!/bin/sh
log=$(dirname "$0")/log
case "$1" in pread|get_size|can_*|is_*) ;; *) echo "$*" | sed "s,$tmpdir,TMP,g" >>"$log" ;; esac
disk=$tmpdir/disk
case "$1" in
  load|unload|get_ready|after_fork|preconnect) ;;
  magic_config_key) echo anything ;;
  config) echo "$3" >"$tmpdir/$2" ;;
  config_complete) truncate -s "$(cat "$tmpdir/size")" "$disk" ;;
  thread_model) echo parallel ;;
  list_exports) echo INTERLEAVED; echo first; echo "the first one"; echo second; echo "the other" ;;
  default_export) echo first ;;
  open) mkdir -p "$tmpdir/handle-$3"; echo "$tmpdir/handle-$3" ;;
  close) ;;
  export_description) echo "from $(basename "$2" | cut -d- -f2)" ;;
  get_size) stat -Lc %s "$disk" ;;
  block_size) echo 1 4K 1M ;;
  can_write|can_flush|can_trim|can_zero|can_extents|can_multi_conn|can_fast_zero|is_rotational) ;;
  can_fua|can_cache) echo native ;;
  pread) dd if="$disk" skip="$4" count="$3" iflag=skip_bytes,count_bytes status=none ;;
  pwrite) dd of="$disk" seek="$4" oflag=seek_bytes conv=notrunc status=none ;;
  trim|zero) fallocate -p -o "$4" -l "$3" "$disk" ;;
  flush|cache) ;;
  extents) echo "0 64K"; echo "64K 192K hole,zero" ;;
  *) exit 2 ;;
esac
`;

stock("sh calls its script for every method", {
  plugin: "sh",
  params: (folder) => [join(folder, "script"), "size=256K", "for anybody"],
  before: (folder) => script(folder, everything),
  needs: ["fallocate"],
  see: async ({ server, folder }) => {
    const seen = await nbdsh(
      server,
      `
show ([h.get_size (), flags ()])
show (block_sizes ())
h.pwrite (b"written", 1000)
h.pwrite (b"fua", 2000, nbd.CMD_FLAG_FUA)
show ([h.pread (9, 999), h.pread (3, 2000)])
h.trim (4096, 65536)
h.trim (4096, 65536, nbd.CMD_FLAG_FUA)
h.zero (512, 1000)
h.zero (512, 4096, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA)
h.zero (512, 8192, nbd.CMD_FLAG_FAST_ZERO)
h.cache (512, 0)
h.flush ()
show ([h.pread (9, 999), h.pread (3, 2000)])
show (extents (262144, 0))
show (extents (4096, 65536, nbd.CMD_FLAG_REQ_ONE))
h.shutdown ()
`,
    );
    // The server may stop before it has closed the connection of a client that has left.
    await until(() => logged(folder).includes("close TMP/handle-first"));
    await server.stop();
    return [seen, logged(folder)];
  },
  expected: [
    [
      [262144, "flush fua rotational trim zero fast_zero multi_conn cache df"],
      [1, 4096, 1048576],
      ["007772697474656e00", "667561"],
      ["000000000000000000", "667561"],
      "65536 data, 196608 hole+zero",
      "4096 hole+zero",
    ],
    [
      "load",
      "magic_config_key",
      "config size 256K",
      "config anything for anybody",
      "config_complete",
      "thread_model",
      "get_ready",
      "after_fork",
      "preconnect false",
      "default_export false false",
      "open false first false",
      "block_size TMP/handle-first",
      "pwrite TMP/handle-first 7 1000 ",
      "pwrite TMP/handle-first 3 2000 fua",
      "trim TMP/handle-first 4096 65536 ",
      "trim TMP/handle-first 4096 65536 fua",
      "zero TMP/handle-first 512 1000 may_trim",
      "zero TMP/handle-first 512 4096 fua",
      "zero TMP/handle-first 512 8192 may_trim,fast",
      "cache TMP/handle-first 512 0",
      "flush TMP/handle-first",
      "extents TMP/handle-first 262144 0 ",
      "extents TMP/handle-first 4096 65536 req_one",
      "close TMP/handle-first",
      "unload",
    ],
  ],
});

stock("sh lists exports with descriptions", {
  plugin: "sh",
  params: (folder) => [join(folder, "script"), "size=4K"],
  before: (folder) => script(folder, everything),
  needs: ["nbdinfo"],
  see: ({ server }) =>
    listed(server, "export-name", "description", "export-size", "block_size_minimum"),
  expected: [
    ["first", "the first one", 4096, 1],
    ["second", "the other", 4096, 1],
  ],
});

const failing = `
case "$1" in
  get_size) echo 64K ;;
  can_write|can_flush|can_zero|can_trim|can_extents|can_fast_zero) ;;
  can_cache) echo native ;;
  pread|pwrite|trim|zero|extents|cache|flush)
    if [ "$1" = pwrite ]; then cat >/dev/null; fi
    if [ "$1" = flush ]; then echo "ESHUTDOWN going"; exit 1; fi >&2
    case "$4" in
      0) echo ENOSPC no room left >&2; exit 1 ;;
      512) echo EPERM >&2; exit 1 ;;
      1024) echo what is this >&2; exit 1 ;;
      1536) exit 1 ;;
      2048) echo ENOMEM: exhausted >&2; exit 8 ;;
      2560) echo EOVERFLOW >&2; exit 127 ;;
      # An unsupported zero becomes a pwrite. Release 1.32.5 aborts if that is unsupported, too.
      3072) case "$1" in pread) exit 1 ;; pwrite) ;; *) exit 2 ;; esac ;;
      3584) exit 3 ;;
      4096) echo EINVAL >&2; exit 4 ;;
      4608) kill -9 $$ ;;
      5120) [ "$1" = pwrite ] || { echo ENOTSUP >&2; exit 1; } ;;
      5632) [ "$1" = pwrite ] || { echo EOPNOTSUPP >&2; exit 1; } ;;
      *) if [ "$1" = extents ]; then echo 0 64K; else head -c 512 /dev/zero; fi ;;
    esac ;;
  *) exit 2 ;;
esac
`;

stock("sh maps the output and exit code of a script to errors", {
  plugin: "sh",
  params: (folder) => [join(folder, "script")],
  before: (folder) => script(folder, `#!/bin/sh${failing}`),
  see: `
for call in [
  lambda at: h.pread (512, at),
  lambda at: h.pwrite (b"w" * 512, at),
  lambda at: h.trim (512, at),
  lambda at: h.zero (512, at),
  lambda at: h.zero (512, at, nbd.CMD_FLAG_FAST_ZERO),
  lambda at: h.cache (512, at),
  lambda at: extents (512, at),
]:
    show (" ".join (errno (lambda: call (at)) or "-" for at in range (0, 7168, 512)))
show (errno (lambda: h.flush ()))
`,
  expected: [
    "ENOSPC EPERM EIO EIO EIO EINVAL EIO EIO EINVAL EIO EINVAL EINVAL - -",
    "ENOSPC EPERM EIO EIO EIO EINVAL - EIO EINVAL EIO - - - -",
    "ENOSPC EPERM EIO EIO EIO EINVAL - EIO EINVAL EIO EINVAL EINVAL - -",
    "ENOSPC EPERM EIO EIO EIO EINVAL - EIO EINVAL EIO - - - -",
    "ENOSPC EPERM EIO EIO EIO EINVAL ENOTSUP EIO EINVAL EIO ENOTSUP ENOTSUP - -",
    "ENOSPC EPERM EIO EIO EIO EINVAL - EIO EINVAL EIO EINVAL EINVAL - -",
    "ENOSPC EPERM EIO EIO EIO EINVAL EIO EIO EINVAL EIO EINVAL EINVAL - -",
    "ESHUTDOWN",
  ],
});

stock("sh needs only get_size and pread", {
  plugin: "sh",
  params: (folder) => [join(folder, "script")],
  before: (folder) =>
    script(
      folder,
      '#!/bin/sh\ncase "$1" in get_size) echo 1M;; pread) head -c $3 /dev/zero;; can_write) exit 3;; can_zero) exit 3;; *) exit 2;; esac\n',
    ),
  see: "show ([h.get_size (), h.pread (2, 9), flags (), errno (lambda: h.pwrite (b'x', 0))])",
  expected: [1048576, "0000", "read_only df", "EPERM"],
});

stock("sh refuses a client if open fails", {
  plugin: "sh",
  params: (folder) => [join(folder, "script")],
  before: (folder) =>
    script(
      folder,
      '#!/bin/sh\ncase "$1" in open) [ "$3" = good ] || { echo EPERM not you >&2; exit 1; };; get_size) echo 512;; pread) head -c $3 /dev/zero;; list_exports) echo NAMES; echo good; echo bad;; *) exit 2;; esac\n',
    ),
  see: ({ server }) =>
    nbdsh(
      server,
      `
show ([client ("good").get_size (), *errnos (lambda: client ("bad"), client)])
`,
      null,
    ),
  expected: [512, "ENOENT", "ENOENT"],
});

// The plugin leaves its folder behind when it does not start, so the script removes it.
refuses("sh ends when its script refuses a parameter", {
  plugin: "sh",
  params: (folder) => [join(folder, "script"), "size=many"],
  before: (folder) =>
    script(
      folder,
      '#!/bin/sh\ncase "$1" in config) rmdir "$tmpdir"; echo "EINVAL $2: how $3?" >&2; exit 1;; *) exit 2;; esac\n',
    ),
  error: "FOLDER/script: size: how many?",
});

dumps(
  "sh",
  `
name=sh version=1.32.5 api_version=2 struct_size=384 max_thread_model=parallel
thread_model=serialize_requests errno_is_preserved=1 magic_config_key=script
load unload dump_plugin config config_complete config_help thread_model get_ready after_fork
preconnect list_exports default_export open close export_description get_size block_size
can_write can_flush is_rotational can_trim can_zero can_fast_zero can_extents can_fua
can_multi_conn can_cache pread pwrite flush trim zero extents cache
max_known_status=3 script=mine
`,
  {
    params: (folder) => [join(folder, "script")],
    before: (folder) =>
      script(
        folder,
        '#!/bin/sh\ncase "$1" in dump_plugin) echo script=mine;; thread_model) echo serialize_requests;; magic_config_key) echo key;; *) exit 2;; esac\n',
      ),
  },
);

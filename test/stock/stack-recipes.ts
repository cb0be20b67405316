/** Random stacks of genuine filters above genuine plugins, with suitable parameters. */

import type { Random } from "#test/random";

/** The parts of a command line. In parameters, FOLDER stands for the folder of the session. */
export interface Stack {
  readonly filters: readonly string[];
  readonly plugin: string;
  readonly params: readonly string[];
}

function pick<T>(random: Random, from: readonly [T, ...T[]]): T {
  return from[Math.floor(random() * from.length)] ?? from[0];
}

/** Sets of parameters, from which one is chosen. */
type Choices = readonly [readonly string[], ...(readonly string[])[]];

const none: Choices = [[]];

export const filters: Readonly<Record<string, Choices>> = {
  blocksize: [
    ["minblock=512"],
    ["minblock=4K", "maxdata=32K"],
    ["maxdata=4K", "maxlen=12K"],
    ["minblock=1K", "maxdata=64K", "maxlen=32K"],
  ],
  "blocksize-policy": [
    ["blocksize-minimum=512", "blocksize-preferred=4K", "blocksize-maximum=64K"],
    ["blocksize-preferred=64K"],
    ["blocksize-minimum=512", "blocksize-error-policy=error"],
    ["blocksize-maximum=8K", "blocksize-preferred=4K", "blocksize-error-policy=error"],
  ],
  cache: [
    [],
    ["cache=writethrough"],
    ["cache=unsafe", "cache-on-read=true"],
    ["cache-on-read=true"],
  ],
  cacheextents: none,
  cow: [
    [],
    ["cow-block-size=4K"],
    ["cow-on-read=true"],
    ["cow-on-cache=true", "cow-block-size=128K"],
  ],
  ddrescue: [["ddrescue-mapfile=FOLDER/map"]],
  delay: [
    ["rdelay=1ms"],
    ["wdelay=1ms", "delay-fast-zero=false"],
    ["delay-open=1ms", "delay-close=1ms"],
  ],
  error: [
    ["error-pwrite=ENOSPC", "error-pwrite-rate=100%"],
    ["error-zero=EPERM", "error-zero-rate=1"],
    ["error=EIO", "error-trim-rate=100%"],
    ["error-extents=ENOMEM", "error-extents-rate=100%"],
    ["error-cache=EINVAL", "error-cache-rate=100%"],
    ["error-pread-rate=0"],
  ],
  exportname: [
    ["default-export=other", "exportdesc=fixed:a disk"],
    ["exportname=one", "exportname=two", "exportname-list=explicit", "exportdesc=none"],
    ["exportname-list=empty"],
  ],
  extentlist: [["extentlist=FOLDER/list"]],
  fua: [["fuamode=discard"], ["fuamode=pass"], ["fuamode=emulate"]],
  ip: [["allow=anyunix", "deny=all"], ["deny=anyipv4"]],
  limit: [["limit=2"]],
  log: [["logfile=FOLDER/log"]],
  "multi-conn": [
    [],
    ["multi-conn-mode=emulate", "multi-conn-track-dirty=fast"],
    ["multi-conn-mode=disable", "multi-conn-track-dirty=off"],
    ["multi-conn-mode=unsafe"],
    ["multi-conn-mode=plugin", "multi-conn-exportname=true"],
  ],
  nocache: [[], ["cachemode=emulate"], ["cachemode=nop"]],
  noextents: none,
  nofilter: none,
  noparallel: [[], ["serialize=all-requests"], ["serialize=connections"]],
  nozero: [
    [],
    ["zeromode=emulate"],
    ["zeromode=emulate", "fastzeromode=ignore"],
    ["zeromode=plugin", "fastzeromode=slow"],
    ["zeromode=plugin", "fastzeromode=none"],
  ],
  offset: [
    ["offset=512"],
    ["offset=8K", "range=40000"],
    ["offset=4097", "range=50001"],
    ["range=48K"],
  ],
  partition: [["partition=1"], ["partition=2"]],
  pause: [["pause-control=FOLDER/control"]],
  // Ranges begin at 0, since the filter crashes nbdkit otherwise: see its test.
  protect: [["protect=0-4095"], ["protect=-99"]],
  rate: [["rate=100G"], ["connection-rate=100G", "burstiness=3"]],
  retry: [["retries=0"], ["retries=0", "retry-readonly=yes"]],
  "retry-request": [["retry-request-retries=0"]],
  stats: [["statsfile=FOLDER/stats"]],
  // The filter of 1.32.5 writes uninitialized bytes with 8 bits.
  swab: [[], ["swab-bits=32"], ["swab-bits=64"]],
  truncate: [
    ["truncate=100000"],
    ["round-up=64K"],
    ["round-down=4096"],
    ["truncate=40000", "round-up=512"],
  ],
};

/** Filters that are in no stack, with the reasons. */
export const leftOut: Readonly<Record<string, string>> = {
  checkwrite: "writes beyond its buffer in 1.32.5 if a range of zeros or trims has other bytes",
  exitlast: "ends the server between the two connections",
  exitwhen: "only ends the server",
  ext2: "needs a file system below it",
  gzip: "needs a .gz file below it",
  luks: "needs a LUKS disk below it",
  readahead:
    "crashes nbdkit when a client leaves, since its thread may prefetch from finalized layers",
  scan: "crashes nbdkit as readahead does",
  tar: "needs a tar file below it",
  "tls-fallback": "hides the layers below it without TLS",
  xz: "needs a .xz file below it",
};

/** Filters that are never stacked above others, at any distance. */
export const apart: readonly { above: string; below: readonly string[]; why: string }[] = [
  {
    above: "delay",
    below: ["multi-conn", "log"],
    why: "delay of 1.32.5 finalizes the layers below it twice, so multi-conn fails and log writes two lines",
  },
  {
    above: "partition",
    below: ["offset", "swab", "truncate", "blocksize-policy"],
    why: "these move, change or refuse reads of the partition table",
  },
  {
    above: "offset",
    below: ["truncate"],
    why: "the range lies beyond the end",
  },
];

/** Plugins with their parameters. */
export const plugins: Readonly<Record<string, Choices>> = {
  data: [
    ['data=(1 2 3 4)*5000 @40000 ("text")*3000 @70000 9', "size=96K"],
    ["data=@65536 (0xAA)*5000", "size=131075"],
  ],
  eval: [
    [
      "thread_model=echo parallel",
      "get_size=stat -Lc %s FOLDER/disk",
      "pread=dd if=FOLDER/disk count=$3 skip=$4 iflag=count_bytes,skip_bytes status=none",
      "pwrite=dd of=FOLDER/disk seek=$4 oflag=seek_bytes conv=notrunc status=none",
      "flush=:",
      "trim=:",
    ],
    [
      "get_size=stat -Lc %s FOLDER/disk",
      "pread=dd if=FOLDER/disk count=$3 skip=$4 iflag=count_bytes,skip_bytes status=none",
      "extents=echo 0 20000; echo 20000 1M hole,zero",
      "block_size=echo 512 4096 64K",
      "can_cache=echo emulate",
    ],
  ],
  file: [["FOLDER/disk"]],
  memory: [["size=128K"], ["size=100001"], ["size=256K", "allocator=malloc"]],
  pattern: [["size=96K"], ["size=70001"]],
  "sparse-random": [
    ["size=1M", "seed=7", "percent=40"],
    ["size=300K", "seed=42", "runlength=8192"],
  ],
};

/** Plugins that a filter requires. */
const needs: Readonly<Record<string, readonly string[]>> = { partition: ["file", "eval"] };

const allowed = (above: readonly string[], filter: string) =>
  !above.includes(filter) &&
  apart.every((pair) => !(above.includes(pair.above) && pair.below.includes(filter)));

/** A stack of two to four filters, with `wanted` among them. */
export function randomStack(random: Random, wanted?: string): Stack {
  const names = Object.keys(filters);
  const length = 2 + Math.floor(random() * 3);
  const chosen: string[] = [];
  while (chosen.length < length) {
    const last = wanted !== undefined && !chosen.includes(wanted) && chosen.length === length - 1;
    const filter = last ? wanted : names[Math.floor(random() * names.length)];
    if (filter === undefined) continue;
    if (allowed(chosen, filter)) chosen.push(filter);
    else if (last) chosen.length = 0;
  }
  const fitting = Object.keys(plugins).filter((name) =>
    chosen.every((filter) => needs[filter]?.includes(name) ?? true),
  );
  const plugin = fitting[Math.floor(random() * fitting.length)] ?? "memory";
  const params = [
    ...pick(random, plugins[plugin] ?? none),
    ...chosen.flatMap((filter) => [...pick(random, filters[filter] ?? none)]),
  ];
  return { filters: chosen, plugin, params };
}

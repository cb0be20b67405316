/** The genuine retry filter: it reopens the plugin and repeats failed requests. */
import { eachCall, makeDisk, note, perExport, recorder } from "../recorder.ts";
import { type Side, stock } from "../stock.ts";

/** A method that records its handle, and fails on the first connection to an export. */
const failing = (folder: string, name: string, error: string, then: string) => `
  ${note(folder, `$2 ${name}`)}
  case $2 in
    ${name}.1) echo "${error} as requested" >&2; exit 1 ;;
    always.*) echo "ENOMEM as requested" >&2; exit 1 ;;
  esac
  ${then}`;

/** A plugin whose handles are the name of the export and the number of the connection to it. */
const params = (folder: string) => [
  ...recorder(folder, {
    open: `echo x >>${folder}/opened-$3; handle=$3.$(wc -l <${folder}/opened-$3)
      ${note(folder, "$handle open readonly=$2")}
      if [ $handle = open.1 ]; then echo "EIO as requested" >&2; exit 1; fi
      echo $handle`,
    close: note(folder, "$2 close"),
    pread: failing(folder, "pread", "EIO", "printf %0512d 0"),
    pwrite: failing(folder, "pwrite", "ENOSPC", "cat >/dev/null"),
    zero: failing(folder, "zero", "EIO", ":"),
    trim: failing(folder, "trim", "EIO", ":"),
    flush: failing(folder, "flush", "EIO", ":"),
    can_extents: "exit 0",
    extents: failing(folder, "extents", "EIO", "echo $4 $3 hole"),
    can_cache: "echo native",
    cache: failing(folder, "cache", "EIO", ":"),
  }),
  // The delay is in whole seconds.
  "retry-delay=1",
  "retry-exponential=no",
  "retries=1",
];

/** The errors of the clients and their records, after their last connections are closed. */
const clients = (side: Side, calls: string) =>
  perExport(
    side,
    calls,
    (name, notes) => name === "open" || notes.at(-1)?.endsWith("close") === true,
  );

stock("retry reopens the plugin after a failed request, but not after a failed open", {
  filters: ["retry"],
  plugin: "eval",
  before: (folder) => makeDisk(folder, 65536),
  params,
  see: (side) => clients(side, eachCall),
  expected: [
    [
      "always",
      "ENOMEM",
      "1 open readonly=false, 1 flush, 1 close, 2 open readonly=false, 2 flush, 2 close",
    ],
    [
      "cache",
      null,
      "1 open readonly=false, 1 cache, 1 close, 2 open readonly=false, 2 cache, 2 close",
    ],
    [
      "extents",
      null,
      "1 open readonly=false, 1 extents, 1 close, 2 open readonly=false, 2 extents, 2 close",
    ],
    [
      "flush",
      null,
      "1 open readonly=false, 1 flush, 1 close, 2 open readonly=false, 2 flush, 2 close",
    ],
    ["open", "ENOENT", "1 open readonly=false"],
    [
      "pread",
      null,
      "1 open readonly=false, 1 pread, 1 close, 2 open readonly=false, 2 pread, 2 close",
    ],
    [
      "pwrite",
      null,
      "1 open readonly=false, 1 pwrite, 1 close, 2 open readonly=false, 2 pwrite, 2 close",
    ],
    [
      "trim",
      null,
      "1 open readonly=false, 1 trim, 1 close, 2 open readonly=false, 2 trim, 2 close",
    ],
    [
      "zero",
      null,
      "1 open readonly=false, 1 zero, 1 close, 2 open readonly=false, 2 zero, 2 close",
    ],
  ],
});

stock("retry reopens read-only with retry-readonly=yes", {
  filters: ["retry"],
  plugin: "eval",
  before: (folder) => makeDisk(folder, 65536),
  params: (folder) => [...params(folder), "retry-readonly=yes"],
  see: (side) =>
    clients(
      side,
      `
"pread": lambda c: [c.pwrite (b"x", 0), c.pread (512, 0), c.pwrite (b"x", 0)],
"pwrite": lambda c: c.pwrite (b"x", 0),
`,
    ),
  expected: [
    [
      "pread",
      "EPERM",
      "1 open readonly=false, 1 pwrite, 1 pread, 1 close, 2 open readonly=true, 2 pread, 2 close",
    ],
    ["pwrite", "EPERM", "1 open readonly=false, 1 pwrite, 1 close, 2 open readonly=true, 2 close"],
  ],
});

/** The genuine retry filter: a request that failed is tried again on a new connection of the plugin. */
import { until } from "#test/server";

import { makeDisk, note, noted, recorder } from "../recorder.ts";
import { nbdsh, type Side, stock } from "../stock.ts";

/** A method that writes its handle down, and fails on each first connection to an export. */
const failing = (folder: string, name: string, error: string, then: string) => `
  ${note(folder, `$2 ${name}`)}
  case $2 in
    ${name}.1) echo "${error} as told" >&2; exit 1 ;;
    always.*) echo "ENOMEM as told" >&2; exit 1 ;;
  esac
  ${then}`;

/** A plugin whose handles are the export and the number of its connection. */
const params = (folder: string) => [
  ...recorder(folder, {
    open: `echo x >>${folder}/opened-$3; handle=$3.$(wc -l <${folder}/opened-$3)
      ${note(folder, "$handle open readonly=$2")}
      if [ $handle = open.1 ]; then echo "EIO as told" >&2; exit 1; fi
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
  // Less than a second cannot be told.
  "retry-delay=1",
  "retry-exponential=no",
  "retries=1",
];

/** Clients of several exports side by side: the error each got, and what it made the plugin do. */
async function clients({ server, folder }: Side, calls: string): Promise<unknown> {
  const seen = await nbdsh(
    server,
    `
import threading
seen = {}
def use (name, call):
    seen[name] = errno (lambda: call (client (name)))
threads = [threading.Thread (target=use, args=(name, call)) for name, call in {${calls}}.items ()]
for thread in threads:
    thread.start ()
for thread in threads:
    thread.join ()
show (dict (sorted (seen.items ())))
`,
    null,
  );
  const names = Object.keys(seen as object);
  const last = (name: string) =>
    noted(folder)
      .findLast((line) => line.startsWith(`${name}.`))
      ?.endsWith("close") ?? false;
  await until(() => names.every((name) => name === "open" || last(name)));
  return names.map((name) => [
    name,
    (seen as Record<string, unknown>)[name],
    noted(folder).filter((line) => line.startsWith(`${name}.`)),
  ]);
}

stock("retry opens the plugin again when a request fails, not when opening fails", {
  filters: ["retry"],
  plugin: "eval",
  before: (folder) => makeDisk(folder, 65536),
  params,
  see: (side) =>
    clients(
      side,
      `
"open": lambda c: c.flush (),
"pread": lambda c: c.pread (512, 0),
"pwrite": lambda c: c.pwrite (bytes (512), 0),
"zero": lambda c: c.zero (512, 0),
"trim": lambda c: c.trim (512, 0),
"flush": lambda c: c.flush (),
"extents": lambda c: c.block_status (512, 0, lambda *x: 0),
"cache": lambda c: c.cache (512, 0),
"always": lambda c: c.flush (),
`,
    ),
  expected: [
    [
      "always",
      "ENOMEM",
      [
        "always.1 open readonly=false",
        "always.1 flush",
        "always.1 close",
        "always.2 open readonly=false",
        "always.2 flush",
        "always.2 close",
      ],
    ],
    [
      "cache",
      null,
      [
        "cache.1 open readonly=false",
        "cache.1 cache",
        "cache.1 close",
        "cache.2 open readonly=false",
        "cache.2 cache",
        "cache.2 close",
      ],
    ],
    [
      "extents",
      null,
      [
        "extents.1 open readonly=false",
        "extents.1 extents",
        "extents.1 close",
        "extents.2 open readonly=false",
        "extents.2 extents",
        "extents.2 close",
      ],
    ],
    [
      "flush",
      null,
      [
        "flush.1 open readonly=false",
        "flush.1 flush",
        "flush.1 close",
        "flush.2 open readonly=false",
        "flush.2 flush",
        "flush.2 close",
      ],
    ],
    ["open", "ENOENT", ["open.1 open readonly=false"]],
    [
      "pread",
      null,
      [
        "pread.1 open readonly=false",
        "pread.1 pread",
        "pread.1 close",
        "pread.2 open readonly=false",
        "pread.2 pread",
        "pread.2 close",
      ],
    ],
    [
      "pwrite",
      null,
      [
        "pwrite.1 open readonly=false",
        "pwrite.1 pwrite",
        "pwrite.1 close",
        "pwrite.2 open readonly=false",
        "pwrite.2 pwrite",
        "pwrite.2 close",
      ],
    ],
    [
      "trim",
      null,
      [
        "trim.1 open readonly=false",
        "trim.1 trim",
        "trim.1 close",
        "trim.2 open readonly=false",
        "trim.2 trim",
        "trim.2 close",
      ],
    ],
    [
      "zero",
      null,
      [
        "zero.1 open readonly=false",
        "zero.1 zero",
        "zero.1 close",
        "zero.2 open readonly=false",
        "zero.2 zero",
        "zero.2 close",
      ],
    ],
  ],
});

stock("retry stays readonly after a failure with retry-readonly=yes", {
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
      [
        "pread.1 open readonly=false",
        "pread.1 pwrite",
        "pread.1 pread",
        "pread.1 close",
        "pread.2 open readonly=true",
        "pread.2 pread",
        "pread.2 close",
      ],
    ],
    [
      "pwrite",
      "EPERM",
      [
        "pwrite.1 open readonly=false",
        "pwrite.1 pwrite",
        "pwrite.1 close",
        "pwrite.2 open readonly=true",
        "pwrite.2 close",
      ],
    ],
  ],
});

/** The genuine retry-request filter: a request that failed is tried again on the same connection. */
import { makeDisk, note, noted, recorder } from "../recorder.ts";
import { errors, nbdsh, type Side, stock } from "../stock.ts";

/** A method that writes itself down, and fails the first time for an export; on the export "always" each time. */
const failing = (folder: string, name: string, then: string, handle = "$2") => `
  ${note(folder, `${handle} ${name}`)}
  case ${handle} in
    ${name}) [ -e ${folder}/failed-${name} ] || { echo "ENOMEM as told" >&2; >${folder}/failed-${name}; exit 1; } ;;
    always) [ ${name} = open ] || { echo "ENOSPC as told" >&2; exit 1; } ;;
  esac
  ${then}`;

/** A plugin whose handles are the exports. */
const params = (folder: string) => [
  ...recorder(folder, {
    open: failing(folder, "open", "echo $3", "$3"),
    pread: failing(folder, "pread", "printf %0512d 0"),
    pwrite: failing(folder, "pwrite", "cat >/dev/null"),
    zero: failing(folder, "zero", ":"),
    trim: failing(folder, "trim", ":"),
    flush: failing(folder, "flush", ":"),
    can_cache: "echo native",
    cache: failing(folder, "cache", ":"),
    can_extents: "exit 0",
    extents: failing(folder, "extents", "echo $4 $3"),
  }),
  // Less than a second cannot be told.
  "retry-request-delay=1",
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
  return Object.entries(seen as object).map(([name, error]: [string, unknown]) => [
    name,
    error,
    noted(folder).filter((line) => line.startsWith(`${name} `)),
  ]);
}

stock("retry-request tries a request again, and opening too", {
  filters: ["retry-request"],
  plugin: "eval",
  before: (folder) => makeDisk(folder, 65536),
  params: (folder) => [...params(folder), "retry-request-retries=1"],
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
    ["always", "ENOSPC", ["always open", "always flush", "always flush"]],
    ["cache", null, ["cache open", "cache cache", "cache cache"]],
    ["extents", null, ["extents open", "extents extents", "extents extents"]],
    ["flush", null, ["flush open", "flush flush", "flush flush"]],
    ["open", null, ["open open", "open open", "open flush"]],
    ["pread", null, ["pread open", "pread pread", "pread pread"]],
    ["pwrite", null, ["pwrite open", "pwrite pwrite", "pwrite pwrite"]],
    ["trim", null, ["trim open", "trim trim", "trim trim"]],
    ["zero", null, ["zero open", "zero zero", "zero zero"]],
  ],
});

stock("retry-request leaves opening alone with retry-request-open=false", {
  filters: ["retry-request"],
  plugin: "eval",
  before: (folder) => makeDisk(folder, 65536),
  params: (folder) => [...params(folder), "retry-request-open=false"],
  see: async (side) => [
    await clients(side, '"open": lambda c: c.flush ()'),
    // The plugin names its script, which is in a folder of its own.
    errors(side.server.stderr(), side.folder).map((line) => line.replace(/ \S*\/nbdkit\w+\//, " ")),
  ],
  expected: [[["open", "ENOENT", ["open open"]]], ["nbdkit: eval: error: open: as told"]],
});

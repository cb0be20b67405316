/** The genuine retry-request filter: it repeats failed requests on the same connection. */
import { eachCall, makeDisk, note, perExport, recorder } from "../recorder.ts";
import { errors, stock } from "../stock.ts";

/** A method that records its name. It fails once for the export of that name, and each time for "always". */
const failing = (folder: string, name: string, then: string, handle = "$2") => `
  ${note(folder, `${handle} ${name}`)}
  case ${handle} in
    ${name}) [ -e ${folder}/failed-${name} ] || { echo "ENOMEM as requested" >&2; >${folder}/failed-${name}; exit 1; } ;;
    always) [ ${name} = open ] || { echo "ENOSPC as requested" >&2; exit 1; } ;;
  esac
  ${then}`;

/** A plugin whose handles are the names of exports. */
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
  // The delay is in whole seconds.
  "retry-request-delay=1",
];

stock("retry-request repeats failed requests and opens", {
  filters: ["retry-request"],
  plugin: "eval",
  before: (folder) => makeDisk(folder, 65536),
  params: (folder) => [...params(folder), "retry-request-retries=1"],
  see: (side) => perExport(side, eachCall),
  expected: [
    ["always", "ENOSPC", "open, flush, flush"],
    ["cache", null, "open, cache, cache"],
    ["extents", null, "open, extents, extents"],
    ["flush", null, "open, flush, flush"],
    ["open", null, "open, open, flush"],
    ["pread", null, "open, pread, pread"],
    ["pwrite", null, "open, pwrite, pwrite"],
    ["trim", null, "open, trim, trim"],
    ["zero", null, "open, zero, zero"],
  ],
});

stock("retry-request does not repeat open with retry-request-open=false", {
  filters: ["retry-request"],
  plugin: "eval",
  before: (folder) => makeDisk(folder, 65536),
  params: (folder) => [...params(folder), "retry-request-open=false"],
  see: async (side) => [
    await perExport(side, '"open": lambda c: c.flush ()'),
    // The message begins with the path of the plugin's script in a temporary folder.
    errors((await side.server.stop()).stderr, side.folder).map((line) =>
      line.replace(/ \S*\/nbdkit\w+\//, " "),
    ),
  ],
  expected: [[["open", "ENOENT", "open"]], ["nbdkit: eval: error: open: as requested"]],
});

/** The genuine scan filter: a background thread prefetches the whole disk. */
import { until } from "#test/server";

import { makeDisk, note, noted, recorder } from "../recorder.ts";
import { nbdsh, type Side, stock } from "../stock.ts";

const KIB = 1024;

/** A plugin that records what is prefetched. It waits until the file "go" exists. */
const params = (folder: string, ...more: readonly string[]) => [
  ...recorder(folder, {
    can_cache: "echo native",
    cache: `${note(folder, "cache $3 $4")}
      until [ -e ${folder}/go ]; do sleep 0.01; done`,
    close: note(folder, "close"),
  }),
  "scan-size=256K",
  ...more,
];

/** The plugin's records of a client's script, in which `lines (count)` waits for records and `go ()` makes "go". */
async function log({ server, folder }: Side, script: string): Promise<unknown> {
  await nbdsh(
    server,
    `
def lines (count):
    until (lambda: os.path.exists ("${folder}/log") and len (open ("${folder}/log").readlines ()) >= count)
def go ():
    touch ("${folder}/go")
${script}
`,
  );
  const clients = script.includes("client ()") ? 2 : 1;
  await until(() => noted(folder).filter((line) => line === "close").length === clients);
  return noted(folder);
}

function scans(title: string, more: readonly string[], script: string, expected: unknown): void {
  stock(title, {
    filters: ["scan"],
    plugin: "eval",
    before: (folder) => makeDisk(folder, 1000 * KIB),
    params: (folder) => params(folder, ...more),
    see: (side) => log(side, script),
    expected,
  });
}

/** A client reads in the third block while the first one is being prefetched. */
const readsFarther = `
lines (1)
h.pread (512, 600 * 1024)
go ()
`;
/** A second client connects after the disk is scanned and the first client has left. */
const comesAgain = (more: string) => `
go ()
lines (4)
h.shutdown ()
lines (5)
h = client ()
${more}
`;

scans("scan continues behind a client's read", [], readsFarther + "lines (4)", [
  "cache 262144 0",
  "pread 512 614400",
  "cache 262144 614912",
  "cache 146944 877056",
  "close",
]);
scans(
  "scan prefetches block after block with scan-ahead=false",
  ["scan-ahead=false"],
  readsFarther + "lines (5)",
  [
    "cache 262144 0",
    "pread 512 614400",
    "cache 262144 262144",
    "cache 262144 524288",
    "cache 237568 786432",
    "close",
  ],
);
scans("scan continues with the last block for another client", [], comesAgain("lines (6)"), [
  "cache 262144 0",
  "cache 262144 262144",
  "cache 262144 524288",
  "cache 237568 786432",
  "close",
  "cache 237568 786432",
  "close",
]);
scans(
  "scan starts over for another client with scan-clock=false",
  ["scan-clock=false"],
  comesAgain("lines (9)"),
  [
    "cache 262144 0",
    "cache 262144 262144",
    "cache 262144 524288",
    "cache 237568 786432",
    "close",
    "cache 262144 0",
    "cache 262144 262144",
    "cache 262144 524288",
    "cache 237568 786432",
    "close",
  ],
);

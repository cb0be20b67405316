/** The genuine noparallel filter: it serializes requests or connections. */
import { run, until } from "#test/server";

import { makeDisk, note, noted, recorder } from "../recorder.ts";
import { nbdsh, type Side, stock, stockCommand } from "../stock.ts";

for (const [mode, model] of [
  ["", "serialize_requests"],
  ["serialize=requests", "serialize_requests"],
  ["serialize=all-requests", "serialize_all_requests"],
  ["serialize=connections", "serialize_connections"],
] as const)
  stockCommand(`noparallel lowers the thread model to ${model} (${mode || "by default"})`, {
    options: ["--dump-plugin"],
    filters: ["noparallel"],
    plugin: "memory",
    params: () => ["1M", ...(mode === "" ? [] : [mode])],
    see: async ({ command }) => {
      const { code, stdout } = await run(command);
      return [code, ...stdout.split("\n").filter((line) => line.includes("thread_model="))];
    },
    expected: [0, "max_thread_model=parallel", `thread_model=${model}`],
  });

/** A plugin that records the beginning and end of its reads. */
const params = (folder: string, mode: string, pread: string) => [
  ...recorder(folder, {
    open: `${note(folder, "open")}`,
    pread: `${note(folder, "begin $4")}
      ${pread}
      head -c $3 /dev/zero
      ${note(folder, "end $4")}`,
    close: `${note(folder, "close")}`,
  }),
  mode,
];

/** A shell command that waits for a record. */
const waitFor = (folder: string, text: string) =>
  `until grep -qx "${text}" ${folder}/log; do sleep 0.01; done`;

async function log({ server, folder }: Side, script: string): Promise<unknown> {
  const seen = await nbdsh(server, script);
  await until(() => noted(folder).includes("close"));
  return [seen, noted(folder).filter((line) => !/open|close/.test(line))];
}

stock("noparallel runs the requests of one connection in order", {
  filters: ["noparallel"],
  plugin: "eval",
  before: (folder) => makeDisk(folder, 65536),
  params: (folder) => params(folder, "serialize=requests", ""),
  see: (side) =>
    log(
      side,
      `
order = []
buffers = [nbd.Buffer (512) for at in range (6)]
def read (at):
    def done (err):
        order.append (at)
        return 1
    h.aio_pread (buffers[at], at * 512, done)
for at in range (6):
    read (at)
while len (order) < 6:
    h.poll (-1)
show ([h.can_multi_conn (), order])
`,
    ),
  expected: [
    [false, [0, 1, 2, 3, 4, 5]],
    [
      "begin 0",
      "end 0",
      "begin 512",
      "end 512",
      "begin 1024",
      "end 1024",
      "begin 1536",
      "end 1536",
      "begin 2048",
      "end 2048",
      "begin 2560",
      "end 2560",
    ],
  ],
});

stock("noparallel lets other connections overtake with serialize=requests", {
  filters: ["noparallel"],
  plugin: "eval",
  before: (folder) => makeDisk(folder, 65536),
  params: (folder) =>
    params(folder, "serialize=requests", `[ $4 -ne 0 ] || { ${waitFor(folder, "end 4096")}; }`),
  see: (side) =>
    log(
      side,
      `
other = client ()
buffer = nbd.Buffer (512)
cookie = h.aio_pread (buffer, 0)
until (lambda: any (line == "begin 0\\n" for line in open ("${side.folder}/log")))
other.pread (512, 4096)
while not h.aio_command_completed (cookie):
    h.poll (-1)
other.shutdown ()
show ("both")
`,
    ),
  expected: ["both", ["begin 0", "begin 4096", "end 4096", "end 0"]],
});

stock("noparallel serves one client after the other with serialize=connections", {
  filters: ["noparallel"],
  plugin: "eval",
  before: (folder) => makeDisk(folder, 65536),
  params: (folder) => params(folder, "serialize=connections", ""),
  see: async ({ server, folder }) => {
    const seen = await nbdsh(
      server,
      `
other = nbd.NBD ()
other.aio_connect_uri (uri)
show ([h.can_multi_conn (), len (h.pread (512, 0))])
other.poll (20)
h.pread (512, 1024)
show (other.aio_is_ready ())
h.shutdown ()
while other.aio_is_connecting ():
    other.poll (-1)
other.pread (512, 2048)
other.shutdown ()
`,
    );
    await until(() => noted(folder).filter((line) => line === "close").length === 2);
    return [seen, noted(folder)];
  },
  expected: [
    [[false, 512], false],
    [
      "open",
      "begin 0",
      "end 0",
      "begin 1024",
      "end 1024",
      "close",
      "open",
      "begin 2048",
      "end 2048",
      "close",
    ],
  ],
});

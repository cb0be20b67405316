/** The genuine multi-conn filter: a flush covers every connection. */
import { until } from "#test/server";

import { makeDisk, note, noted, recorder } from "../recorder.ts";
import { nbdsh, type Side, stock } from "../stock.ts";

const common = {
  filters: ["multi-conn"],
  plugin: "eval",
  before: (folder: string) => makeDisk(folder, 4096),
} as const;

/** A plugin without multi-conn that numbers its connections and records which of them are flushed. */
const params = (folder: string, ...more: readonly string[]) => [
  ...recorder(folder, {
    open: "echo x >>$tmpdir/opened; wc -l <$tmpdir/opened",
    pread: "head -c $3 /dev/zero",
    pwrite: "cat >/dev/null",
    flush: note(folder, "flush $2"),
    close: note(folder, "close"),
  }),
  ...more,
];

/** Whether multi-conn is offered, and the connections of the plugin that each step flushes. */
async function flushes({ server, folder }: Side, script: string): Promise<unknown> {
  const offered = await nbdsh(
    server,
    `
others = [client (name) for name in ("", "other")]
conns = [h, *others]
def step(name):
    os.system ("echo %s >>${folder}/log" % name)
show ([c.can_multi_conn () for c in conns])
${script}
for c in others:
    c.shutdown ()
`,
  );
  // The filter fails if the server ends before it has closed its connections.
  const closed = () => noted(folder).filter((line) => line === "close").length;
  await until(() => closed() === 3);
  const lines = noted(folder).filter((line) => line !== "close");
  return [
    offered,
    lines
      .join("\n")
      .replaceAll(/\nflush (\d)/g, " [$1]")
      .split("\n"),
  ];
}

const script = `
step ("clean")
h.flush ()
step ("one wrote, two flushes")
conns[0].pwrite (bytes (512), 0)
conns[1].flush ()
step ("one flushes again")
conns[0].flush ()
step ("all wrote and read, three flushes")
for c in conns:
    c.pwrite (bytes (512), 0)
    c.pread (512, 0)
conns[2].flush ()
step ("write with FUA")
conns[1].pwrite (bytes (512), 0, nbd.CMD_FLAG_FUA)
`;

stock("multi-conn flushes every dirty connection of a plugin without multi-conn", {
  ...common,
  params: (folder) => params(folder),
  see: (side) => flushes(side, script),
  expected: [
    [true, true, true],
    [
      "clean",
      "one wrote, two flushes [1]",
      "one flushes again",
      "all wrote and read, three flushes [1] [2] [3]",
      "write with FUA [2]",
    ],
  ],
});

stock("multi-conn flushes every connection if any is dirty with track-dirty=fast", {
  ...common,
  params: (folder) => params(folder, "multi-conn-mode=emulate", "multi-conn-track-dirty=fast"),
  see: (side) => flushes(side, script),
  expected: [
    [true, true, true],
    [
      "clean",
      "one wrote, two flushes [1] [2] [3]",
      "one flushes again",
      "all wrote and read, three flushes [1] [2] [3]",
      "write with FUA [1] [2] [3]",
    ],
  ],
});

stock("multi-conn flushes every connection of the export with track-dirty=off", {
  ...common,
  params: (folder) => params(folder, "multi-conn-track-dirty=off", "multi-conn-exportname=true"),
  see: (side) => flushes(side, script),
  expected: [
    [true, true, true],
    [
      "clean [1] [2]",
      "one wrote, two flushes [1] [2]",
      "one flushes again [1] [2]",
      "all wrote and read, three flushes [3]",
      "write with FUA [1] [2]",
    ],
  ],
});

stock("multi-conn flushes one connection, but offers multi-conn, with mode=unsafe", {
  ...common,
  params: (folder) => params(folder, "multi-conn-mode=unsafe"),
  see: (side) => flushes(side, script),
  expected: [
    [true, true, true],
    [
      "clean",
      "one wrote, two flushes [2]",
      "one flushes again [1]",
      "all wrote and read, three flushes [3]",
      "write with FUA [2]",
    ],
  ],
});

stock("multi-conn hides the multi-conn of the plugin with mode=disable", {
  ...common,
  params: (folder) => [...params(folder, "can_multi_conn=exit 0"), "multi-conn-mode=disable"],
  see: (side) => flushes(side, 'step ("disabled"); conns[1].pwrite (b"x", 0); conns[0].flush ()'),
  expected: [[false, false, false], ["disabled [1]"]],
});

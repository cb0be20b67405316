/** The genuine exitwhen filter: the server ends after an event. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { nbdsh, ran, type Side, stock, stockCommand } from "../stock.ts";

/** What a client and a later one see before and after an event, and the exit code of the server. */
async function around({ server }: Side, event: string) {
  return [
    await nbdsh(
      server,
      `
show (h.pread (4, 0))
${event}
show ([refused (client), h.pread (4, 0)])
h.shutdown ()
`,
    ),
    await server.process.exited,
  ];
}

stock("exitwhen refuses new clients once a file exists, and ends after the last client", {
  filters: ["exitwhen"],
  plugin: "memory",
  params: (folder) => ["1M", `exit-when-file-created=${join(folder, "stop")}`],
  see: (side) => around(side, `touch ("${side.folder}/stop")`),
  expected: [["00000000", [true, "00000000"]], 0],
});

stock("exitwhen ends when a file is deleted", {
  filters: ["exitwhen"],
  plugin: "memory",
  before: (folder) => writeFileSync(join(folder, "go"), ""),
  params: (folder) => ["1M", `exit-when-file-deleted=${join(folder, "go")}`],
  see: (side) => around(side, `os.unlink ("${side.folder}/go")`),
  expected: [["00000000", [true, "00000000"]], 0],
});

stock("exitwhen ends when a script exits with 88", {
  filters: ["exitwhen"],
  plugin: "memory",
  params: (folder) => ["1M", `exit-when-script=test ! -e ${join(folder, "stop")} || exit 88`],
  see: (side) => around(side, `touch ("${side.folder}/stop")`),
  expected: [["00000000", [true, "00000000"]], 0],
});

stock("exitwhen ends when a process ends", {
  filters: ["exitwhen"],
  plugin: "memory",
  before: async (folder, peers) => {
    const peer = Bun.spawn(["cat"], { stdin: "pipe", stdout: "ignore" });
    peers.defer(async () => {
      peer.kill();
      await peer.exited;
    });
    await Bun.write(join(folder, "pid"), String(peer.pid));
  },
  params: (folder) => [
    "1M",
    `exit-when-process-exits=${readFileSync(join(folder, "pid"), "utf8")}`,
  ],
  see: (side) =>
    around(
      side,
      `
pid = int (open ("${side.folder}/pid").read ())
os.kill (pid, 15)
until (lambda: not os.path.exists ("/proc/%d" % pid))
`,
    ),
  expected: [["00000000", [true, "00000000"]], 0],
});

stock("exitwhen polls while it has no clients", {
  filters: ["exitwhen"],
  plugin: "memory",
  params: (folder) => ["1M", `exit-when-file-created=${join(folder, "stop")}`, "exit-when-poll=1"],
  see: async ({ server, folder }) => {
    writeFileSync(join(folder, "stop"), "");
    return server.process.exited;
  },
  expected: 0,
});

stockCommand("exitwhen ends at once if the pipe is already closed", {
  filters: ["exitwhen"],
  plugin: "memory",
  options: (folder) => ["-f", "-U", join(folder, "sock")],
  params: () => ["1M", "exit-when-pipe-closed=6"],
  see: ({ command, folder, ...side }) => {
    const start = 'mkfifo "$0" && exec 5<>"$0" 6<"$0" 5>&- && exec "$@"';
    return ran({ ...side, folder, command: ["sh", "-c", start, join(folder, "fifo"), ...command] });
  },
  expected: { code: 0, errors: [] },
});

stockCommand("exitwhen ends at once if the file already exists", {
  filters: ["exitwhen"],
  plugin: "memory",
  options: (folder) => ["-f", "-U", join(folder, "sock")],
  before: (folder) => writeFileSync(join(folder, "stop"), ""),
  params: (folder) => ["1M", `exit-when-file-created=${join(folder, "stop")}`],
  see: ran,
  expected: { code: 0, errors: [] },
});

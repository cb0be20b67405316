/** The genuine pause filter: commands on a control socket pause and resume requests. */
import { existsSync } from "node:fs";
import { join } from "node:path";

import { until } from "#test/server";

import { makeDisk, note, noted, recorder } from "../recorder.ts";
import { nbdsh, stock } from "../stock.ts";

const control = (folder: string) => join(folder, "control");

/** `send (command)` sends a character to the control socket, and `answer ()` receives one. */
const talk = (folder: string) => `
import socket
sock = socket.socket (socket.AF_UNIX)
sock.connect ("${control(folder)}")
def send (command):
    sock.send (command.encode ())
def answer ():
    return str (sock.recv (1), "ascii")
def ask (command):
    send (command)
    return answer ()
def log ():
    return open ("${folder}/log").read ().splitlines ()
`;

stock("pause holds requests back until the control socket resumes them", {
  filters: ["pause"],
  plugin: "eval",
  before: (folder) => makeDisk(folder, 65536, "content"),
  params: (folder) => [...recorder(folder), `pause-control=${control(folder)}`],
  see: async ({ server, folder }) => {
    await until(() => existsSync(control(folder)));
    const seen = await nbdsh(
      server,
      `${talk(folder)}
show ([ask ("p"), ask ("p"), ask ("?")])
buffer = nbd.Buffer (7)
cookies = [h.aio_pread (buffer, 0), h.aio_pwrite (b"new", 512), h.aio_zero (512, 0), h.aio_trim (512, 1024), h.aio_flush ()]
# Flushes are not held back.
while h.aio_in_flight () > 4:
    h.poll (-1)
h.poll (30)
show ([h.aio_in_flight (), log ()])
show (ask ("r"))
while h.aio_in_flight () > 0:
    h.poll (-1)
show ([h.aio_command_completed (cookie) for cookie in cookies])
show ([ask ("r"), str (h.pread (3, 512), "ascii")])
`,
    );
    return [seen, noted(folder).toSorted()];
  },
  expected: [
    [["P", "P", "X"], [4, ["flush"]], "R", [true, true, true, true, true], ["R", "new"]],
    ["flush", "pread 3 512", "pread 7 0", "pwrite 3 512", "trim 512 1024", "zero 512 0 may_trim"],
  ],
});

stock("pause answers once the running requests have finished", {
  filters: ["pause"],
  plugin: "eval",
  before: (folder) => makeDisk(folder, 65536, "content"),
  params: (folder) => [
    ...recorder(folder, {
      pread: `${note(folder, "begin")}
        until [ -e ${folder}/go ]; do sleep 0.01; done
        head -c $3 /dev/zero
        ${note(folder, "end")}`,
    }),
    `pause-control=${control(folder)}`,
  ],
  see: ({ server, folder }) =>
    nbdsh(
      server,
      `${talk(folder)}
buffer = nbd.Buffer (512)
cookie = h.aio_pread (buffer, 0)
until (lambda: os.path.exists ("${folder}/log"))
send ("p")
sock.settimeout (0.03)
try:
    show (answer ())
except socket.timeout:
    show ("no answer")
sock.settimeout (None)
touch ("${folder}/go")
show ([answer (), log ()])
while not h.aio_command_completed (cookie):
    h.poll (-1)
show (ask ("r"))
`,
    ),
  expected: ["no answer", ["P", ["begin", "end"]], "R"],
});

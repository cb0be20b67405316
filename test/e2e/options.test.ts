/** The effect of each option of the command line on real clients. test/tls has those of TLS. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { needing, program, run } from "#test/server";
import { nbdkitFunction, shellCommand } from "#test/shell";

setDefaultTimeout(60_000);

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-options-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs a script in which `nbdkit` is this server, in the temporary folder. */
const sh = (script: string) =>
  run(["/bin/bash", "-c", nbdkitFunction() + script], {
    cwd: folder,
    // Debian's Python has libnbd's module.
    env: { PATH: `/usr/bin:/bin:${process.env["PATH"]}` },
  });

const size = `nbdinfo --size "$uri"`;
const reach = (socket: string) => `nbdinfo --size "nbd+unix:///?socket=${socket}"`;
/** Prints a Python expression with the connection `h`. */
const nbdsh = (expression: string) => `nbdsh -u "$uri" -c "print(${expression})"`;

interface Row {
  readonly option: string;
  readonly script: string;
  readonly stdout: string | RegExp;
  /** A pattern of stderr, which must be empty without this and `silent`. */
  readonly stderr?: RegExp;
  /** A pattern that must not be on stderr. */
  readonly silent?: RegExp;
}

const rows: readonly Row[] = [
  {
    option: "-D",
    script: `nbdkit -v -D nbdkit.backend.datapath=0 memory 64k --run '${nbdsh("len(h.pread(512, 0))")}'`,
    stdout: "512\n",
    silent: /pread/,
  },
  {
    option: "-v",
    script: `nbdkit -v memory 64k --run '${nbdsh("len(h.pread(512, 0))")}'`,
    stdout: "512\n",
    stderr: /^nbdkit: memory\[\d+\]: debug: memory: pread count=512 offset=0$/m,
  },
  {
    option: "-e",
    script: `nbdkit -e disk memory 64k --run 'echo "$exportname"; nbdinfo --json "$uri" | grep -o "\\"export-name\\": \\"disk\\""'`,
    stdout: 'disk\n"export-name": "disk"\n',
  },
  {
    option: "--filter",
    script: `nbdkit --filter=offset --filter=cow memory 64k offset=4k --run '${size}'`,
    stdout: "61440\n",
  },
  {
    option: "-i -p",
    script: `nbdkit -i 127.0.0.1 -p 0 memory 64k --run '[ -n "$port" ] && ${size}'`,
    stdout: "65536\n",
  },
  {
    option: "-4",
    script: `nbdkit -4 -p 0 memory 64k --run 'nbdinfo --size "nbd://127.0.0.1:$port"'`,
    stdout: "65536\n",
  },
  {
    option: "-6",
    script: `nbdkit -6 -p 0 memory 64k --run 'nbdinfo --size "nbd://[::1]:$port"
      nbdinfo --size "nbd://127.0.0.1:$port" 2>&1 | grep -o "Connection refused"'`,
    stdout: "65536\nConnection refused\n",
  },
  {
    option: "--exit-with-parent, -f",
    // The parent is the shell in parentheses.
    script: `( ${shellCommand(program)} --exit-with-parent -f -U child memory 64k & until ${reach("child")} 2>&-; do :; done )
      while ${reach("child")} 2>&-; do :; done >/dev/null; echo ended`,
    stdout: "65536\nended\n",
  },
  {
    option: "--keepalive",
    script: `nbdkit --keepalive -i 127.0.0.1 -p 0 memory 64k --run '${size}'`,
    stdout: "65536\n",
  },
  {
    option: "-U",
    script: `nbdkit -U ./here -U ./there memory 64k --run '
      for name in here there; do nbdinfo --size "nbd+unix:///?socket=$name"; done'`,
    stdout: "65536\n65536\n",
  },
  {
    option: "--listen",
    script: `nbdkit -i 127.0.0.1 -p 0 --listen nbd+unix:///?socket=also memory 64k --run '
      ${size}; nbdinfo --size "nbd+unix:///?socket=also"'`,
    stdout: "65536\n65536\n",
  },
  {
    option: "--log",
    script: `nbdkit --log="$PWD/log" --filter=error memory 64k error-pread-rate=1 --run '
      qemu-io -r -f raw -c "read 0 512" "$uri" 2>&1'; grep -c injecting log`,
    stdout: /^read failed: Input\/output error\n[1-9]\d*\n$/,
  },
  {
    option: "--mask-handshake",
    script: `for mask in 0 3; do nbdkit --mask-handshake=$mask memory 64k --run '${nbdsh("h.get_protocol()")}'; done`,
    stdout: "newstyle\nnewstyle-fixed\n",
  },
  {
    option: "--name",
    script: `nbdkit --name=left -v memory 64k --run '${nbdsh("len(h.pread(512, 0))")}'
      nbdkit --name=left --name "the right" memory 64k no-such=1`,
    stdout: "512\n",
    stderr:
      /^nbdkit\[left\]: memory\[\d+\]: debug: memory: pread count=512 offset=0$[^]*^nbdkit\[the right\]: error: .*no-such/m,
    silent: /^nbdkit:/m,
  },
  {
    option: "-n",
    script: `nbdkit -n memory 64k --run '${nbdsh("h.get_protocol()")}'`,
    stdout: "newstyle-fixed\n",
  },
  {
    option: "-o",
    script: `nbdkit -o memory 64k --run '${nbdsh("(h.get_protocol(), h.get_size())")}; qemu-img info "$uri" | grep virtual'`,
    stdout: "('oldstyle', 65536)\nvirtual size: 64 KiB (65536 bytes)\n",
  },
  {
    option: "--no-mc",
    script: `for option in --no-mc -n; do nbdkit $option memory 64k --run '
      nbdsh -c "h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)" -u "$uri" -c "print(h.can_meta_context(nbd.CONTEXT_BASE_ALLOCATION))"'; done`,
    stdout: "False\nTrue\n",
  },
  {
    option: "--no-sr",
    script: `for option in --no-sr -n; do nbdkit $option memory 64k --run '${nbdsh("h.get_structured_replies_negotiated()")}'; done`,
    stdout: "False\nTrue\n",
  },
  {
    option: "-P, and a daemon",
    script: `nbdkit -U daemon -P pid memory 64k && nbdinfo --size "nbd+unix:///?socket=daemon" && kill $(cat pid)
      while kill -0 $(cat pid) 2>&-; do :; done`,
    stdout: "65536\n",
  },
  {
    option: "--print-uri",
    script: "nbdkit -U - --print-uri memory 64k --run true",
    stdout:
      /^(nbd\+unix:\/\/\?socket=\S+)\nShell-quoted URI: "\1"\nCommand to query the NBD endpoint:\n  nbdinfo "\1"\n$/,
  },
  {
    option: "-r",
    script: `nbdkit -r memory 64k --run 'nbdinfo --can write "$uri" || echo no; qemu-io -f raw -c "write 0 512" "$uri" 2>&1'`,
    stdout: /^no\nqemu-io: .*: Permission denied\n/,
  },
  {
    option: "--run",
    script: `nbdkit memory 64k --run 'qemu-img map --output=json "$uri"; exit 5'; echo $?`,
    stdout: /^\[\{ "start": 0, "length": 65536.*\n5\n$/,
  },
  {
    option: "-s",
    script: `nbdsh -c 'h.connect_command(["bash", "-c", "exec ${program.join(" ")} -s memory 64k"]); print(h.get_size())'`,
    stdout: "65536\n",
  },
  {
    option: "--swap",
    script: `nbdkit --swap memory 64k --run '${size}'`,
    stdout: "65536\n",
  },
  {
    option: "-t",
    script: `for threads in 1 4; do nbdkit -v -t $threads native:memory 64k --run '${size}' 2>&1 | grep -o 'requests .*'; done`,
    stdout: /^requests serially\nrequests with 4 threads\n$/,
  },
  {
    option: "--timeout",
    script: `nbdkit --timeout=50ms memory 64k --run 'python3 -c "
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
while s.recv(512): pass
print(1)" "$unixsocket"'`,
    stdout: "1\n",
    stderr: /client spent more than 0\.05 s on the handshake/,
  },
  {
    option: "-u -g",
    // The user of -u must be able to enter and write here.
    script: `chmod 755 . && install -d -m 777 open && truncate -s 64k open/disk
      chmod 666 open/disk && nbdkit -u nobody -g nogroup -U open/user -P open/pid file open/disk || exit
      nbdsh -u "nbd+unix:///?socket=open/user" -c 'h.pwrite(b"data", 0)'; head -c 4 open/disk; stat -c " %U %G" open/pid
      kill $(cat open/pid); while kill -0 $(cat open/pid) 2>&-; do :; done`,
    stdout: "data nobody nogroup\n",
  },
  {
    option: "--vsock",
    // Many machines cannot connect to their own vsock ports, but they can listen.
    script: `nbdkit --vsock -p 10899 --listen "nbd+unix:///?socket=beside" memory 64k --run '${reach("beside")}'`,
    stdout: "65536\n",
  },
];

const clients = ["bash", "nbdinfo", "nbdsh", "nbdcopy", "qemu-io", "qemu-img", "python3"];
const { skip, needs } = needing(...clients);

describe.skipIf(skip)(`the option${needs}`, () => {
  test.each([...rows])("$option takes effect", async ({ script, stdout, stderr, silent }) => {
    const result = await sh(script);
    if (typeof stdout === "string") expect(result.stdout).toBe(stdout);
    else expect(result.stdout).toMatch(stdout);
    if (stderr !== undefined) expect(result.stderr).toMatch(stderr);
    else if (silent === undefined) expect(result.stderr).toBe("");
    if (silent !== undefined) expect(result.stderr).not.toMatch(silent);
  });
});

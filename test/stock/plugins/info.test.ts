/** The genuine info plugin: it serves information about the client. */
import { nbdsh, serveTcp, stock, stockCommand } from "../stock.ts";
import { dumps } from "./dumped.ts";

stock("info serves the export name, of any length", {
  plugin: "info",
  see: `
def reflected(name):
    disk = client (name)
    return disk.pread (disk.get_size (), 0) if disk.get_size () else b""
show ([h.get_size (), reflected ("hello"), reflected ("/ %?&"), reflected ("é")])
long = client ("n" * 4096)
show ([long.get_size (), long.pread (2, 4094)])
show (errnos (lambda: long.pread (1, 4096), lambda: long.pwrite (b"x", 0)))
show (flags ())
`,
  expected: [
    [0, "68656c6c6f", "2f20253f26", "c3a9"],
    [4096, "6e6e"],
    ["EINVAL", "EPERM"],
    "read_only multi_conn cache df",
  ],
});

stock("info decodes the export name with base64exportname", {
  plugin: "info",
  params: () => ["base64exportname"],
  see: `
disk = client ("AAECA/8=")
show ([disk.get_size (), disk.pread (5, 0), h.get_size ()])
show (errno (lambda: client ("not base64!")))
`,
  expected: [[5, "00010203ff", 0], "ENOENT"],
});

stock("info serves no address of a client on a Unix socket", {
  plugin: "info",
  params: () => ["mode=address"],
  see: "show ([h.get_size (), h.pread (h.get_size (), 0).decode ()])",
  expected: [4, "unix"],
});

stockCommand("info serves the address of a TCP client", {
  options: ["-f", "-p", "0", "-i", "127.0.0.1"],
  plugin: "info",
  params: () => ["mode=address"],
  see: async (side) => {
    await using server = await serveTcp(side, "127.0.0.1");
    const seen = await nbdsh(
      server,
      `
import socket
own = socket.fromfd (h.aio_get_fd (), socket.AF_INET, socket.SOCK_STREAM).getsockname ()
show (h.pread (h.get_size (), 0).decode () == "%s:%d" % own)
`,
    );
    return [seen, await server.stop()];
  },
  expected: [true, 0],
});

stock("info serves the time", {
  plugin: "info",
  params: () => ["mode=time"],
  see: `
def now():
    disk = h.pread (12, 0)
    return int.from_bytes (disk[:8], "big") + int.from_bytes (disk[8:], "big") / 1e6
before = time.time () - 0.001
first, second = now (), now ()
show ([h.get_size (), before <= first <= second <= time.time () + 0.001])
`,
  expected: [12, true],
});

const passed = `
def passed(disk):
    data = disk.pread (12, 0)
    return int.from_bytes (data[:8], "big") + int.from_bytes (data[8:], "big") / 1e6
`;

stock("info serves the uptime of the server", {
  plugin: "info",
  params: () => ["mode=uptime"],
  see: `${passed}
first, second, third = passed (h), passed (h), passed (client ())
show ([h.get_size (), 0 < first < second < third < 60])
`,
  expected: [12, true],
});

stock("info serves the age of the connection", {
  plugin: "info",
  params: () => ["mode=conntime"],
  see: `${passed}
first, second = passed (h), passed (h)
# The other client connects after the second answer, so its connection is younger by more than that.
other, third = passed (client ()), passed (h)
show ([h.get_size (), 0 < first < second < third < 60, third - other > second])
`,
  expected: [12, true, true],
});

dumps(
  "info",
  `
name=info version=1.32.5 api_version=2 struct_size=384 max_thread_model=parallel thread_model=parallel
errno_is_preserved=1 magic_config_key=mode
load dump_plugin config config_help open close get_size can_multi_conn can_cache pread
info_address=yes info_base64=yes
`,
);

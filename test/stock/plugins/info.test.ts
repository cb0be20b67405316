/** The genuine info plugin: what the server knows of its client, as a disk. */
import { nbdsh, serveTcp, stock, stockCommand } from "../stock.ts";
import { dumped } from "./dumped.ts";

stock("info reflects the export name, which may be of any size", {
  plugin: "info",
  see: ({ server }) =>
    nbdsh(
      server,
      `
def reflected(name):
    disk = client (name)
    return disk.pread (disk.get_size (), 0) if disk.get_size () else b""
show ([h.get_size (), reflected ("hello"), reflected ("/ %?&"), reflected ("é")])
long = client ("n" * 4096)
show ([long.get_size (), long.pread (2, 4094)])
show ([errno (lambda: long.pread (1, 4096)), errno (lambda: long.pwrite (b"x", 0))])
show (flags ())
`,
    ),
  expected: [
    [0, "68656c6c6f", "2f20253f26", "c3a9"],
    [4096, "6e6e"],
    ["EINVAL", "EPERM"],
    {
      is_read_only: true,
      can_flush: false,
      can_fua: false,
      is_rotational: false,
      can_trim: false,
      can_zero: false,
      can_fast_zero: false,
      can_multi_conn: true,
      can_cache: true,
      can_df: true,
    },
  ],
});

stock("info decodes the export name with base64exportname", {
  plugin: "info",
  params: () => ["base64exportname"],
  see: ({ server }) =>
    nbdsh(
      server,
      `
disk = client ("AAECA/8=")
show ([disk.get_size (), disk.pread (5, 0), h.get_size ()])
show (errno (lambda: client ("not base64!")) is not None)
`,
    ),
  expected: [[5, "00010203ff", 0], true],
});

stock("info does not tell the address of a client on a Unix socket", {
  plugin: "info",
  params: () => ["mode=address"],
  see: ({ server }) =>
    nbdsh(server, "show ([h.get_size (), h.pread (h.get_size (), 0).decode ()])"),
  expected: [4, "unix"],
});

stockCommand("info tells the address of a client on TCP", {
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

stock("info tells the time", {
  plugin: "info",
  params: () => ["mode=time"],
  see: ({ server }) =>
    nbdsh(
      server,
      `
import time
def now():
    disk = h.pread (12, 0)
    return int.from_bytes (disk[:8], "big") + int.from_bytes (disk[8:], "big") / 1e6
before = time.time () - 0.001
first, second = now (), now ()
show ([h.get_size (), before <= first <= second <= time.time () + 0.001])
`,
    ),
  expected: [12, true],
});

const passed = `
def passed(disk):
    data = disk.pread (12, 0)
    return int.from_bytes (data[:8], "big") + int.from_bytes (data[8:], "big") / 1e6
`;

stock("info tells for how long the server runs", {
  plugin: "info",
  params: () => ["mode=uptime"],
  see: ({ server }) =>
    nbdsh(
      server,
      `${passed}
first, second, third = passed (h), passed (h), passed (client ())
show ([h.get_size (), 0 < first < second < third < 60])
`,
    ),
  expected: [12, true],
});

stock("info tells for how long a client is connected", {
  plugin: "info",
  params: () => ["mode=conntime"],
  see: ({ server }) =>
    nbdsh(
      server,
      `${passed}
first, second = passed (h), passed (h)
# The other client comes after that, so it is younger by more than that.
other, third = passed (client ()), passed (h)
show ([h.get_size (), 0 < first < second < third < 60, third - other > second])
`,
    ),
  expected: [12, true, true],
});

stockCommand("info tells what it has", {
  options: ["--dump-plugin"],
  plugin: "info",
  see: dumped,
  expected: {
    code: 0,
    lines: [
      "name=info",
      "version=1.32.5",
      "api_version=2",
      "struct_size=384",
      "max_thread_model=parallel",
      "thread_model=parallel",
      "errno_is_preserved=1",
      "magic_config_key=mode",
      "has_load=1",
      "has_dump_plugin=1",
      "has_config=1",
      "has_config_help=1",
      "has_open=1",
      "has_close=1",
      "has_get_size=1",
      "has_can_multi_conn=1",
      "has_can_cache=1",
      "has_pread=1",
      "info_address=yes",
      "info_base64=yes",
    ],
  },
});

/** The genuine exitlast filter: the server ends when its last client has left. */
import { nbdsh, stock } from "../stock.ts";

/** The server ends by itself after the script. */
function ends(title: string, script: string, shown: unknown, uri?: null): void {
  stock(title, {
    filters: ["exitlast"],
    plugin: "memory",
    params: () => ["1M"],
    see: async ({ server }) => [await nbdsh(server, script, uri), await server.process.exited],
    expected: [shown, 0],
  });
}

ends(
  "exitlast ends the server after its last client",
  `
h2 = client ()
h.shutdown ()
h3 = client ()
h2.shutdown ()
show (h3.pread (4, 0))
h3.shutdown ()
`,
  "00000000",
);

ends(
  "exitlast does not count a client that only negotiates",
  `
h.set_opt_mode (True)
h.connect_uri (uri)
h.opt_abort ()
show (client ().pread (4, 0))
`,
  "00000000",
  null,
);

ends(
  "exitlast lets a client open an export after NBD_OPT_INFO",
  `
h.set_opt_mode (True)
h.connect_uri (uri)
h.opt_info ()
h.opt_go ()
show (h.get_size ())
`,
  1048576,
  null,
);

/** The genuine exitlast filter: the server ends when its last client has gone. */
import { nbdsh, stock } from "../stock.ts";

stock("exitlast ends the server after the last of its clients", {
  filters: ["exitlast"],
  plugin: "memory",
  params: () => ["1M"],
  see: async ({ server }) => [
    await nbdsh(
      server,
      `
h2 = client ()
h.shutdown ()
h3 = client ()
h2.shutdown ()
show (h3.pread (4, 0))
h3.shutdown ()
`,
    ),
    await server.process.exited,
  ],
  expected: ["00000000", 0],
});

stock("exitlast waits for a first client", {
  filters: ["exitlast"],
  plugin: "memory",
  params: () => ["1M"],
  see: async ({ server }) => [
    // One that only asks has not been served.
    await nbdsh(
      server,
      `
h.set_opt_mode (True)
h.connect_uri (uri)
h.opt_abort ()
show (client ().pread (4, 0))
`,
      null,
    ),
    await server.process.exited,
  ],
  expected: ["00000000", 0],
});

stock("exitlast lets a client choose the export that it has asked about", {
  filters: ["exitlast"],
  plugin: "memory",
  params: () => ["1M"],
  see: async ({ server }) => [
    await nbdsh(
      server,
      `
h.set_opt_mode (True)
h.connect_uri (uri)
h.opt_info ()
h.opt_go ()
show (h.get_size ())
`,
      null,
    ),
    await server.process.exited,
  ],
  expected: [1048576, 0],
});

/** The genuine tls-fallback filter: clients without TLS read a message instead of the disk. */
import { refuses } from "../cases.ts";
import { makeDisk, note, noted, recorder } from "../recorder.ts";
import { nbdsh, stock } from "../stock.ts";

const script = `
show ([h.get_size (), str (h.pread (512, 0).rstrip (b"\\0"), "utf-8"), flags (), extents (512, 0)])
show (errnos (lambda: h.pwrite (b"x", 0), lambda: h.pread (1, 512), lambda: h.zero (1, 0)))
show ([str (client ("other").pread (4, 0), "ascii"), errno (h.get_export_description), errno (h.get_canonical_export_name)])
`;

stock("tls-fallback serves a message to clients without TLS", {
  filters: ["tls-fallback"],
  plugin: "memory",
  params: () => ["1M"],
  see: script,
  expected: [
    [
      512,
      "This NBD server requires TLS authentication before it will serve useful data.\n",
      "read_only df",
      "512 data",
    ],
    ["EPERM", "EINVAL", "EPERM"],
    ["This", "ENOTSUP", "ENOTSUP"],
  ],
});

stock("tls-fallback serves tlsreadme, and does not open the plugin", {
  filters: ["tls-fallback"],
  plugin: "eval",
  before: (folder) => makeDisk(folder, 65536),
  params: (folder) => [
    ...recorder(folder, {
      open: note(folder, "open"),
      list_exports: `${note(folder, "list_exports")}; echo secret`,
      default_export: `${note(folder, "default_export")}; echo secret`,
      export_description: "echo secret",
    }),
    "tlsreadme=Use TLS, please\n",
  ],
  see: async ({ server, folder }) => {
    const seen = await nbdsh(server, script);
    const listed = await nbdsh(
      server,
      `
h.set_opt_mode (True)
h.connect_uri (uri)
names = []
h.opt_list (lambda name, description: names.append ([name, description]) or 0)
show (names)
`,
      null,
    );
    return [seen, listed, noted(folder)];
  },
  expected: [
    [
      [512, "Use TLS, please\n", "read_only df", "512 data"],
      ["EPERM", "EINVAL", "EPERM"],
      ["Use ", "ENOTSUP", "ENOTSUP"],
    ],
    [["", ""]],
    [],
  ],
});

refuses("tls-fallback requires a thread model with parallel connections", {
  filters: ["tls-fallback"],
  plugin: "eval",
  params: (folder) => recorder(folder, { thread_model: "echo serialize_connections" }),
  error: "the tls-fallback filter requires parallel connection support",
});

/** The genuine limit filter: it limits the number of clients. */
import { errors, nbdsh, stock } from "../stock.ts";

stock("limit accepts another client only after one has left", {
  filters: ["limit"],
  plugin: "memory",
  params: () => ["1M", "limit=2"],
  see: async ({ server, folder }) => [
    await nbdsh(
      server,
      `
h2 = client ()
show ([refused (client), h2.pread (4, 0), h.pread (4, 0)])
h.shutdown ()
others = []
until (lambda: not refused (lambda: others.append (client ())))
show (others[0].pread (4, 0))
show (refused (client))
`,
    ),
    [...new Set(errors((await server.stop()).stderr, folder))],
  ],
  expected: [
    [[true, "00000000", "00000000"], "00000000", true],
    ["nbdkit: memory: error: limit: too many clients connected, connection rejected"],
  ],
});

stock("limit accepts one client by default", {
  filters: ["limit"],
  plugin: "memory",
  params: () => ["1M"],
  see: "show ([refused (client), h.pread (4, 0)])",
  expected: [true, "00000000"],
});

stock("limit accepts any number of clients with limit=0", {
  filters: ["limit"],
  plugin: "memory",
  params: () => ["1M", "limit=0"],
  see: "others = [client () for _ in range (9)]\nshow ([c.pread (1, 0) for c in others])",
  expected: ["00", "00", "00", "00", "00", "00", "00", "00", "00"],
});

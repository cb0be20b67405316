/** The genuine readahead filter: a background thread prefetches the data of sequential reads. */
import { makeDisk, note, noted, recorder } from "../recorder.ts";
import { errors, nbdsh, stock } from "../stock.ts";

const MIB = 1024 * 1024;
const native = (folder: string) => ({
  can_cache: "echo native",
  cache: note(folder, "cache $3 $4"),
});

stock("readahead prefetches more and more while reads are sequential", {
  filters: ["readahead"],
  plugin: "eval",
  before: (folder) => makeDisk(folder, 4 * MIB, "content"),
  params: (folder) => recorder(folder, native(folder)),
  see: async ({ server, folder }) => {
    const seen = await nbdsh(
      server,
      `
def prefetched (count):
    """Wait until the background thread has made this many requests."""
    until (lambda: len ([line for line in open ("${folder}/log") if line.startswith ("cache")]) >= count)
show (str (h.pread (7, 0), "ascii"))
prefetched (1)
for count in range (1, 6):
    h.pread (32768, 32768 * count)
    prefetched (1 + count)
h.pread (512, 3 * 1024 * 1024)
prefetched (7)
h.pread (512, 3 * 1024 * 1024 + 512)
prefetched (8)
h.pwrite (b"x", 0)
h.pread (1024, 0)
prefetched (9)
h.pread (1024, 4 * 1024 * 1024 - 1024)
`,
    );
    const log = noted(folder);
    // Reads and prefetching run at the same time.
    return [seen, ...["cache", "p"].map((begin) => log.filter((line) => line.startsWith(begin)))];
  },
  expected: [
    "content",
    [
      "cache 32768 7",
      "cache 32768 65536",
      "cache 32768 98304",
      "cache 32768 131072",
      "cache 32768 163840",
      "cache 32768 196608",
      "cache 32768 3146240",
      "cache 65536 3146752",
      "cache 65536 1024",
    ],
    [
      "pread 7 0",
      "pread 32768 32768",
      "pread 32768 65536",
      "pread 32768 98304",
      "pread 32768 131072",
      "pread 32768 163840",
      "pread 512 3145728",
      "pread 512 3146240",
      "pwrite 1 0",
      "pread 1024 0",
      "pread 1024 4193280",
    ],
  ],
});

stock("readahead prefetches into the cache filter below it", {
  filters: ["readahead", "cache"],
  plugin: "eval",
  before: (folder) => makeDisk(folder, MIB, "content"),
  params: (folder) => [...recorder(folder), "cache-on-read=true", "cache-min-block-size=64K"],
  see: async ({ server, folder }) => {
    await nbdsh(
      server,
      `
h.pread (32768, 0)
h.pread (32768, 32768)
def lines (count):
    until (lambda: len (open ("${folder}/log").readlines ()) >= count)
lines (2)
h.pread (65536, 65536)
lines (3)
h.pread (1, 1024 * 1024 - 1)
`,
    );
    return noted(folder);
  },
  expected: ["pread 65536 0", "pread 65536 65536", "pread 65536 131072", "pread 65536 983040"],
});

for (const [why, methods, more] of [
  ["requests are serialized", { thread_model: "echo serialize_requests" }, []],
  [
    "the plugin cannot prefetch",
    { can_cache: "echo none" },
    ["nbdkit: eval: error: readahead: try adding --filter=cache after this filter"],
  ],
] as const)
  stock(`readahead warns and does nothing if ${why}`, {
    filters: ["readahead"],
    plugin: "eval",
    before: (folder) => makeDisk(folder, MIB),
    params: (folder) => recorder(folder, { ...native(folder), ...methods }),
    see: async ({ server, folder }) => {
      await nbdsh(server, "for at in (0, 32768, 65536): h.pread (32768, at)");
      const { stderr } = await server.stop();
      return [noted(folder), errors(stderr, folder)];
    },
    expected: [
      ["pread 32768 0", "pread 32768 32768", "pread 32768 65536"],
      [
        "nbdkit: eval: error: readahead: warning: underlying plugin does not support " +
          "NBD_CMD_CACHE or PARALLEL thread model, so the filter won't do anything",
        ...more,
      ],
    ],
  });

/** The genuine nocache filter: it hides, emulates or ignores cache requests. */
import { makeDisk, note, noted, recorder } from "../recorder.ts";
import { nbdsh, stock } from "../stock.ts";

function withMode(title: string, mode: readonly string[], expected: unknown): void {
  stock(title, {
    filters: ["nocache"],
    plugin: "eval",
    before: (folder) => makeDisk(folder, 65536, "nocache"),
    params: (folder) => [
      ...recorder(folder, { can_cache: "echo native", cache: note(folder, "cache $3 $4") }),
      ...mode,
    ],
    see: async ({ server, folder }) => {
      const seen = await nbdsh(
        server,
        `show ([h.can_cache (), errno (lambda: h.cache (4096, 512)), errno (lambda: h.cache (4096, 65536)),
                str (h.pread (7, 0), "ascii")])`,
      );
      return [seen, noted(folder)];
    },
    expected,
  });
}

withMode(
  "nocache hides the cache capability by default",
  [],
  [[false, "EINVAL", "EINVAL", "nocache"], ["pread 7 0"]],
);
withMode(
  "nocache reads instead with cachemode=emulate",
  ["cachemode=emulate"],
  [
    [true, null, "EINVAL", "nocache"],
    ["pread 4096 512", "pread 7 0"],
  ],
);
withMode(
  "nocache ignores cache requests with cachemode=nop",
  ["cachemode=nop"],
  [[true, null, "EINVAL", "nocache"], ["pread 7 0"]],
);

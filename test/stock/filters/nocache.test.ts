/** The genuine nocache filter: requests to prefetch are refused, done by reading, or ignored. */
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
  "nocache hides by default that the plugin can prefetch",
  [],
  [[false, "EINVAL", "EINVAL", "nocache"], ["pread 7 0"]],
);
withMode(
  "nocache reads what is to be prefetched with cachemode=emulate",
  ["cachemode=emulate"],
  [
    [true, null, "EINVAL", "nocache"],
    ["pread 4096 512", "pread 7 0"],
  ],
);
withMode(
  "nocache ignores requests to prefetch with cachemode=nop",
  ["cachemode=nop"],
  [[true, null, "EINVAL", "nocache"], ["pread 7 0"]],
);

/** The genuine error filter: it makes chosen requests fail. */
import { join } from "node:path";

import { refuses } from "../cases.ts";
import { nbdsh, stock, withErrors } from "../stock.ts";

const everything = `
def everything ():
    show ([errno (call) for call in (
        lambda: h.pread (512, 0), lambda: h.pwrite (bytes (512), 0), lambda: h.trim (512, 0), lambda: h.zero (512, 0),
        lambda: extents (512, 0), lambda: h.cache (512, 0), h.flush)])
`;

stock("error fails each kind of request with its own error", {
  filters: ["error"],
  plugin: "memory",
  params: () => [
    "1M",
    "error-pread=EPERM",
    "error-pread-rate=100%",
    "error-pwrite=ENOSPC",
    "error-pwrite-rate=1",
    "error-trim-rate=100%",
    "error-zero=ESHUTDOWN",
    "error-zero-rate=1.0",
    "error-extents=ENOMEM",
    "error-extents-rate=100%",
    "error-cache=EINVAL",
    "error-cache-rate=0%",
  ],
  see: (side) => withErrors(side, `${everything}\neverything ()`),
  expected: [
    ["EPERM", "ENOSPC", "EIO", "ESHUTDOWN", "ENOMEM", null, null],
    [
      "nbdkit: memory: error: injecting EPERM error into pread",
      "nbdkit: memory: error: injecting ENOSPC error into pwrite",
      "nbdkit: memory: error: injecting EIO error into trim",
      "nbdkit: memory: error: injecting ESHUTDOWN error into zero",
      "nbdkit: memory: error: injecting ENOMEM error into extents",
    ],
  ],
});

stock("error fails all requests while error-file exists", {
  filters: ["error"],
  plugin: "memory",
  params: (folder) => [
    "1M",
    "error=ENOSPC",
    "error-rate=100%",
    `error-file=${join(folder, "now")}`,
  ],
  see: ({ server, folder }) =>
    nbdsh(
      server,
      `
${everything}
everything ()
touch ("${folder}/now")
everything ()
os.unlink ("${folder}/now")
everything ()
`,
    ),
  expected: [
    [null, null, null, null, null, null, null],
    ["ENOSPC", "ENOSPC", "ENOSPC", "ENOSPC", "ENOSPC", "ENOSPC", null],
    [null, null, null, null, null, null, null],
  ],
});

refuses("error refuses an error that NBD lacks", {
  filters: ["error"],
  plugin: "memory",
  params: () => ["1M", "error=EAGAIN"],
  error: "error: unknown error name 'EAGAIN'",
});

/** The genuine blocksize-policy filter: it advertises block sizes and can enforce them. */
import { refuses } from "../cases.ts";
import { nbdsh, stock } from "../stock.ts";

const script = `
show (block_sizes ())
show ([errno (lambda: h.pread (count, offset)) for count, offset in ((4096, 0), (512, 0), (4096, 512), (65536, 0), (69632, 0))])
show ([errno (lambda: h.pwrite (bytes (count), offset)) for count, offset in ((4096, 0), (512, 0), (4096, 512), (65536, 0), (69632, 0))])
show ([errno (lambda: call (69632, 0)) for call in (h.zero, h.trim, h.cache)])
show ([errno (lambda: call (1, 0)) for call in (h.zero, h.trim, h.cache)])
show ([errno (lambda: call (4096, 1)) for call in (h.zero, h.trim, h.cache)])
show (errno (lambda: h.block_status (1, 0, lambda *_: 0)))
show (h.flush ())
`;
const sizes = ["blocksize-minimum=4K", "blocksize-preferred=32K", "blocksize-maximum=64K"];

stock("blocksize-policy advertises block sizes without enforcing them by default", {
  filters: ["blocksize-policy"],
  plugin: "memory",
  params: () => ["1M", ...sizes],
  see: script,
  expected: [
    [4096, 32768, 65536],
    [null, null, null, null, null],
    [null, null, null, null, null],
    [null, null, null],
    [null, null, null],
    [null, null, null],
    null,
    null,
  ],
});

stock("blocksize-policy enforces block sizes with blocksize-error-policy=error", {
  filters: ["blocksize-policy"],
  plugin: "memory",
  params: () => ["1M", ...sizes, "blocksize-error-policy=error"],
  see: script,
  expected: [
    [4096, 32768, 65536],
    [null, "EINVAL", "EINVAL", null, "EINVAL"],
    [null, "EINVAL", "EINVAL", null, "EINVAL"],
    [null, null, null],
    ["EINVAL", "EINVAL", "EINVAL"],
    ["EINVAL", "EINVAL", "EINVAL"],
    "EINVAL",
    null,
  ],
});

stock("blocksize-policy completes the sizes that are not given", {
  filters: ["blocksize-policy"],
  plugin: "memory",
  params: () => ["1M", "blocksize-preferred=64K"],
  see: ({ server }) => nbdsh(server, script.split("\n").slice(0, 2).join("\n")),
  expected: [1, 65536, 4294967295],
});

refuses("blocksize-policy refuses sizes that contradict each other", {
  filters: ["blocksize-policy"],
  plugin: "memory",
  params: () => ["1M", "blocksize-minimum=64K", "blocksize-preferred=32K"],
  error: "blocksize-minimum must be <= blocksize-preferred",
});

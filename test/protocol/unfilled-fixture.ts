/** A disk whose first half is 0xaa, and whose second half does not fill reads. */
import { definePlugin, param } from "#api";

const unfilled = definePlugin({
  name: "unfilled",
  params: { later: param.bool({ default: false, help: "Answer later (default false)." }) },
  open: (config) => config,
  getSize: () => 1n << 20n,
  pread({ later }, buf, offset) {
    if (offset < 1n << 19n) buf.fill(0xaa);
    return later ? new Promise((resolve) => setImmediate(resolve)) : undefined;
  },
});

// oxlint-disable-next-line import/no-default-export -- a module of nbdkit has one
export default unfilled;

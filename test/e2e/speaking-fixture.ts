/** A plugin that logs in each callback, at once and later, and fails in several ways. */
import { readFileSync } from "node:fs";

import { debug, definePlugin, error, NbdError } from "#api";

const later = () =>
  new Promise<void>((resolve) => {
    setImmediate(resolve);
  });

// oxlint-disable-next-line import/no-default-export -- the chain loads what a module exports by default
export default definePlugin({
  name: "speaking",
  load: () => debug("in load"),
  getReady: () => error("in getReady"),
  open: () => error("in open"),
  getSize: () => 4096n,
  async pread(_handle, _buf, offset) {
    error(`at once at ${offset}`);
    await later();
    error(`later at ${offset}`);
    debug(`debug at ${offset}`);
    if (offset === 1n) throw new NbdError("EIO", "it fails as it means to");
    if (offset === 2n) readFileSync("/nonexistent");
    if (offset === 3n) throw new TypeError("a bug");
  },
  close: () => error("in close"),
});

/** A plugin that blocks JavaScript until a file exists: in pread at once, in pwrite after an await. */
import { existsSync } from "node:fs";

import { definePlugin, param } from "#api";

function block(until: string): void {
  while (!existsSync(until));
}

const blocking = definePlugin({
  name: "blocking",
  params: { until: param.path({ required: true, help: "The file." }) },
  open: (config) => config,
  getSize: () => 65536n,
  canWrite: () => true,
  pread(config, buf) {
    block(String(config.until));
    buf.fill(0x6c);
  },
  async pwrite(config) {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    block(String(config.until));
  },
});
// oxlint-disable-next-line import/no-default-export -- the chain loads what a module exports by default
export default blocking;

/** A plugin with one method that never answers. It prints on stderr when it enters that method or is flushed. */
import { writeSync } from "node:fs";

import { definePlugin, param } from "#api";

let chosen = "";

const say = (what: string) => void writeSync(2, `hanging: ${what}\n`);

function reach(method: string): Promise<never> | undefined {
  if (method !== chosen) return undefined;
  say(`in ${method}`);
  return new Promise(() => {});
}

const hanging = definePlugin({
  name: "hanging",
  params: { method: param.string({ help: "The method that hangs." }) },
  configComplete(config) {
    chosen = config.method ?? "";
    return reach("configComplete");
  },
  getReady: () => reach("getReady"),
  afterFork: () => reach("afterFork"),
  preconnect: () => reach("preconnect"),
  listExports(_config, _readonly, _isTls, exports) {
    exports.add("");
    return reach("listExports");
  },
  open: () => reach("open"),
  close: () => reach("close"),
  cleanup: () => reach("cleanup"),
  unload: () => reach("unload"),
  getSize: () => reach("getSize") ?? 65536n,
  descriptor: () => reach("descriptor"),
  pread: (_handle, buf) => reach("pread") ?? void buf.fill(0x6c),
  pwrite: () => reach("pwrite"),
  trim: () => reach("trim"),
  zero: () => reach("zero"),
  extents: () => reach("extents"),
  cache: () => reach("cache"),
  canCache: () => "native",
  canExtents: () => true,
  flush() {
    const hangs = reach("flush");
    if (hangs === undefined) say("flushed");
    return hangs;
  },
});
// oxlint-disable-next-line import/no-default-export -- the chain loads what a module exports by default
export default hanging;

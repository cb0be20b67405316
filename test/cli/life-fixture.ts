/** A plugin that prints each event of its life on stderr, and fails where the parameter says. */
import { writeSync } from "node:fs";

import { ConfigError, definePlugin, param } from "#api";

const say = (what: string) => void writeSync(2, `life: ${what}\n`);

function reach(where: string, wanted: string | undefined): void {
  if (wanted === where) throw new ConfigError(`${where} failed as asked`);
}

const life = definePlugin({
  name: "life",
  longName: "plugin for tests",
  version: "7.8.9",
  description: "Prints its callbacks.",
  magicConfigKey: "size",
  params: {
    fail: param.string({ help: "Where to fail." }),
    size: param.size({ default: 1048576n, help: "The size." }),
  },

  load: () => say("load"),
  unload: () => say("unload"),
  config(_config, key) {
    throw new ConfigError(`unknown parameter ${key}`);
  },
  configComplete(config) {
    reach("config", config.fail);
    reach("configComplete", config.fail);
    if (config.fail === "bug") throw new TypeError("a bug as asked");
  },
  dumpPlugin(config) {
    writeSync(1, `life_size=${config.size}\n`);
  },
  getReady(config) {
    reach("getReady", config.fail);
    say("getReady");
  },
  afterFork(config) {
    reach("afterFork", config.fail);
    if (config.fail === "later") {
      process.once("SIGUSR2", () => {
        throw new TypeError("a late bug as asked");
      });
    }
    say("afterFork");
  },
  cleanup(config) {
    if (config.fail !== "cleanupHangs") return say("cleanup");
    say("cleanup hangs");
    return new Promise(() => {});
  },
  open(config, readonly, exportName) {
    say(`open ${readonly} ${JSON.stringify(exportName)}`);
    return config;
  },
  close: () => say("close"),
  getSize: (config) => config.size,
  pread(_config, buf) {
    buf.fill(0x6c);
  },
  pwrite() {},
});
// oxlint-disable-next-line import/no-default-export -- the chain loads what a module exports by default
export default life;

/** A plugin that prints in each callback, in every way there is. Its worker prints on request. */
import { definePlugin } from "#api";

/* oxlint-disable no-console, unicorn/require-post-message-target-origin -- the test prints; workers have no origin */

function print(where: string): void {
  console.log("log in %s: %d", where, 1);
  console.info(`info in ${where}`);
  console.debug(`debug in ${where}`);
  console.dir({ where });
  console.write(`write in ${where}\n`);
}

const code = "onmessage = ({ data }) => { console.log(`worker in ${data}`); postMessage(data); };";
const worker = new Worker(URL.createObjectURL(new Blob([code])));

function printInWorker(where: string): Promise<unknown> {
  const done = new Promise((resolve) => {
    worker.addEventListener("message", resolve, { once: true });
  });
  worker.postMessage(where);
  return done;
}

print("module");

// oxlint-disable-next-line import/no-default-export -- the chain loads what a module exports by default
export default definePlugin({
  name: "printing",
  async load() {
    print("load");
    if (process.argv.includes("-s")) await printInWorker("load");
  },
  config: (_config, key) => print(key),
  configComplete: () => print("config_complete"),
  getReady: () => print("get_ready"),
  afterFork: () => print("after_fork"),
  dumpPlugin: () => void process.stdout.write("printing=yes\n"),
  open: () => print("open"),
  getSize: () => 4096n,
  async pread(_handle, buf) {
    print("pread");
    process.stdout.write("stdout in pread\n");
    await printInWorker("pread");
    buf.fill(7);
  },
  close: () => print("close"),
  async unload() {
    print("unload");
    await worker.terminate();
  },
});

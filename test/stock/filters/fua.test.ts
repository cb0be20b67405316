/** The genuine fua filter: what a client's FUA and flush become. */
import { join } from "node:path";

import { errors, nbdsh, requests, type Side, stock } from "../stock.ts";

const common = { filters: ["fua", "log"], plugin: "memory" } as const;
const params =
  (...mode: readonly string[]) =>
  (folder: string) => ["1M", `logfile=${join(folder, "log")}`, ...mode];

/** What is offered, and what reaches the plugin of each kind of request. */
async function reached({ server, folder }: Side) {
  const offered = await nbdsh(
    server,
    `
show ([h.can_flush (), h.can_fua ()])
for fua in (0, nbd.CMD_FLAG_FUA):
    show ([errno (call) for call in (
        lambda: h.pwrite (bytes (512), 0, fua), lambda: h.zero (512, 0, fua), lambda: h.trim (512, 0, fua), h.flush)])
`,
  );
  await server.stop();
  return { offered, requests: requests(join(folder, "log")) };
}

stock("fua offers none where no mode is given", {
  ...common,
  params: params(),
  see: reached,
  expected: {
    offered: [
      [true, false],
      [null, null, null, null],
      ["EINVAL", "EINVAL", "EINVAL", null],
    ],
    requests: [
      "Write offset=0x0 count=0x200 fua=0",
      "Zero offset=0x0 count=0x200 trim=1 fua=0 fast=0",
      "Trim offset=0x0 count=0x200 fua=0",
      "Flush",
      "Flush",
    ],
  },
});

stock("fua emulates by flushing", {
  ...common,
  params: params("fuamode=emulate"),
  see: reached,
  expected: {
    offered: [
      [true, true],
      [null, null, null, null],
      [null, null, null, null],
    ],
    requests: [
      "Write offset=0x0 count=0x200 fua=0",
      "Zero offset=0x0 count=0x200 trim=1 fua=0 fast=0",
      "Trim offset=0x0 count=0x200 fua=0",
      "Flush",
      "Write offset=0x0 count=0x200 fua=0",
      "Flush",
      "Zero offset=0x0 count=0x200 trim=1 fua=0 fast=0",
      "Flush",
      "Trim offset=0x0 count=0x200 fua=0",
      "Flush",
      "Flush",
    ],
  },
});

stock("fua passes all on with fuamode=pass", {
  ...common,
  params: params("fuamode=pass"),
  see: reached,
  expected: {
    offered: [
      [true, true],
      [null, null, null, null],
      [null, null, null, null],
    ],
    requests: [
      "Write offset=0x0 count=0x200 fua=0",
      "Zero offset=0x0 count=0x200 trim=1 fua=0 fast=0",
      "Trim offset=0x0 count=0x200 fua=0",
      "Flush",
      "Write offset=0x0 count=0x200 fua=1",
      "Zero offset=0x0 count=0x200 trim=1 fua=1 fast=0",
      "Trim offset=0x0 count=0x200 fua=1",
      "Flush",
    ],
  },
});

stock("fua passes all on with fuamode=native", {
  ...common,
  params: params("fuamode=native"),
  see: reached,
  expected: {
    offered: [
      [true, true],
      [null, null, null, null],
      [null, null, null, null],
    ],
    requests: [
      "Write offset=0x0 count=0x200 fua=0",
      "Zero offset=0x0 count=0x200 trim=1 fua=0 fast=0",
      "Trim offset=0x0 count=0x200 fua=0",
      "Flush",
      "Write offset=0x0 count=0x200 fua=1",
      "Zero offset=0x0 count=0x200 trim=1 fua=1 fast=0",
      "Trim offset=0x0 count=0x200 fua=1",
      "Flush",
    ],
  },
});

stock("fua forces every write to be FUA", {
  ...common,
  params: params("fuamode=force"),
  see: reached,
  expected: {
    offered: [
      [true, true],
      [null, null, null, null],
      [null, null, null, null],
    ],
    requests: [
      "Write offset=0x0 count=0x200 fua=1",
      "Zero offset=0x0 count=0x200 trim=1 fua=1 fast=0",
      "Trim offset=0x0 count=0x200 fua=1",
      "Write offset=0x0 count=0x200 fua=1",
      "Zero offset=0x0 count=0x200 trim=1 fua=1 fast=0",
      "Trim offset=0x0 count=0x200 fua=1",
    ],
  },
});

stock("fua discards FUA and flushes", {
  ...common,
  params: params("fuamode=discard"),
  see: reached,
  expected: {
    offered: [
      [true, true],
      [null, null, null, null],
      [null, null, null, null],
    ],
    requests: [
      "Write offset=0x0 count=0x200 fua=0",
      "Zero offset=0x0 count=0x200 trim=1 fua=0 fast=0",
      "Trim offset=0x0 count=0x200 fua=0",
      "Write offset=0x0 count=0x200 fua=0",
      "Zero offset=0x0 count=0x200 trim=1 fua=0 fast=0",
      "Trim offset=0x0 count=0x200 fua=0",
    ],
  },
});

stock("fua refuses clients where the plugin cannot flush", {
  filters: ["fua"],
  plugin: "eval",
  params: () => ["get_size=echo 1M", "pread=exit 1", "pwrite=exit 1", "fuamode=emulate"],
  see: async ({ server, folder }) => [
    await nbdsh(server, "show (errno (client))", null),
    errors((await server.stop()).stderr, folder),
  ],
  expected: ["ENOENT", ["nbdkit: eval: error: fuamode 'emulate' requires plugin flush support"]],
});

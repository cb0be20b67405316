/** The genuine fua filter: it emulates, forces or discards FUA and flush. */
import { join } from "node:path";

import { refusesClients } from "../cases.ts";
import { stock, withRequests } from "../stock.ts";

const script = `
show ([h.can_flush (), h.can_fua ()])
for fua in (0, nbd.CMD_FLAG_FUA):
    show (errnos (lambda: h.pwrite (bytes (512), 0, fua), lambda: h.zero (512, 0, fua), lambda: h.trim (512, 0, fua),
                  h.flush))
`;
const works = [null, null, null, null];

/** Checks whether flush and FUA are offered, the errors without and with FUA, and the requests of the plugin. */
function offers(
  title: string,
  mode: readonly string[],
  seen: readonly unknown[],
  reached: readonly string[],
): void {
  stock(title, {
    filters: ["fua", "log"],
    plugin: "memory",
    params: (folder) => ["1M", `logfile=${join(folder, "log")}`, ...mode],
    see: (side) => withRequests(side, script),
    expected: [seen, reached],
  });
}

/** One request of each kind that changes data, without FUA or with it. */
const [write = "", zero = "", trim = ""] = changes(0);
function changes(fua: 0 | 1): string[] {
  return [
    `Write offset=0x0 count=0x200 fua=${fua}`,
    `Zero offset=0x0 count=0x200 trim=1 fua=${fua} fast=0`,
    `Trim offset=0x0 count=0x200 fua=${fua}`,
  ];
}

offers(
  "fua offers no FUA by default",
  [],
  [[true, false], works, ["EINVAL", "EINVAL", "EINVAL", null]],
  [...changes(0), "Flush", "Flush"],
);
offers(
  "fua flushes instead with fuamode=emulate",
  ["fuamode=emulate"],
  [[true, true], works, works],
  [...changes(0), "Flush", write, "Flush", zero, "Flush", trim, "Flush", "Flush"],
);
for (const mode of ["pass", "native"]) {
  offers(
    `fua passes FUA on with fuamode=${mode}`,
    [`fuamode=${mode}`],
    [[true, true], works, works],
    [...changes(0), "Flush", ...changes(1), "Flush"],
  );
}
offers(
  "fua adds FUA to every write with fuamode=force",
  ["fuamode=force"],
  [[true, true], works, works],
  [...changes(1), ...changes(1)],
);
offers(
  "fua discards FUA and flush with fuamode=discard",
  ["fuamode=discard"],
  [[true, true], works, works],
  [...changes(0), ...changes(0)],
);

refusesClients("fua refuses clients if the plugin cannot flush", {
  filters: ["fua"],
  plugin: "eval",
  params: () => ["get_size=echo 1M", "pread=exit 1", "pwrite=exit 1", "fuamode=emulate"],
  error: "fuamode 'emulate' requires plugin flush support",
});

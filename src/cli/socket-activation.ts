/** Sockets that systemd or a similar program has opened for the server: sd_listen_fds(3). */
import { environmentVariable } from "../lib/environment.ts";
import { ConfigError } from "../lib/errors.ts";
import { log } from "../lib/log.ts";
import { descriptorState, unsetVariable } from "../sys/process.ts";
import { keepDescriptor } from "./given-descriptors.ts";
import type { Settings } from "./settings.ts";

const first = 3;
const most = 16;

/** The descriptors of listening sockets; undefined without socket activation. */
export function activatedSockets(settings: Settings): readonly number[] | undefined {
  const { LISTEN_PID: pid, LISTEN_FDS: count } = process.env;
  if (pid === undefined) return undefined;
  const names = environmentVariable("LISTEN_FDNAMES")?.split(":") ?? [];
  // Programs that modules start must not use these sockets as their own.
  for (const name of ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]) unsetVariable(name);
  if (pid !== String(process.pid)) {
    log.error(
      `LISTEN_PID is ${pid} and not ${process.pid}: the sockets are for another process (ignored)`,
    );
    return undefined;
  }
  if (count === undefined) return undefined;
  if (!/^[0-9]{1,9}$/.test(count) || Number(count) < 1 || Number(count) > most) {
    throw new ConfigError(
      `socket activation: LISTEN_FDS=${count}: expected a number from 1 to ${most}`,
    );
  }
  const [option] = settings.listenOptions;
  if (option !== undefined) {
    throw new ConfigError(
      `option ${option} cannot be used with socket activation: the sockets exist already`,
    );
  }
  const fds = Array.from({ length: Number(count) }, (_, index) => first + index);
  for (const [index, fd] of fds.entries()) {
    if (descriptorState(fd) === "closed") {
      throw new ConfigError(
        `socket activation: LISTEN_FDS=${count}, but descriptor ${fd} is closed`,
      );
    }
    keepDescriptor(fd);
    log.debug(`socket activation: listening on fd ${fd}${shownName(names[index])}`);
  }
  return fds;
}

/** systemd calls sockets without a name "unknown". */
function shownName(name = ""): string {
  return name === "" || name === "unknown" ? "" : ` (${name})`;
}

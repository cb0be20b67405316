/** Serves a configured chain until a signal or the end of the command of --run, then takes it down. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { ConfigError } from "../api/errors.ts";
import type { Chain } from "../chain/chain.ts";
import { log } from "../lib/log.ts";
import { announceStop } from "../lib/stopping.ts";
import { type Server, type ServerOptions, startServer } from "../server/server.ts";
import { startCommand } from "./captive.ts";
import { surviveFaults } from "./faults.ts";
import type { Place, Settings } from "./settings.ts";
import { stopSignals } from "./signals.ts";

type Listen = ServerOptions["listen"];

/** The exit status: that of the command of --run, else 0. */
export async function serve(chain: Chain, settings: Settings): Promise<number> {
  using stop = stopSignals();
  using place = listenPlace(onlyPlace(settings));
  const { readonly, threads, noSr, pidFile } = settings;
  const onBound = async (): Promise<void> => {
    if (pidFile !== undefined) writePidFile(pidFile);
    await chain.afterFork();
  };
  const { listen } = place;
  const server = await startServer(chain, {
    listen,
    readonly,
    threads,
    structuredReplies: !noSr,
    onBound,
  });

  using _ = surviveFaults();
  const { status } = await untilStopped(server, settings, stop.first);
  const patience = sayThatItWaits(server);
  announceStop();
  await server.stop();
  clearTimeout(patience);
  const result = await status;
  await chain.cleanup();
  await chain.unload();
  return result;
}

const patienceMs = 5000;

/** A layer whose promise never settles, or that sleeps for long, holds up the end: say so. */
function sayThatItWaits(server: Server): NodeJS.Timeout {
  return setTimeout(() => {
    log.error(
      `still waiting for ${server.connections} client(s) whose requests the layers have not answered: ` +
        "another signal ends the server at once",
    );
  }, patienceMs);
}

/** Wait until the server has to stop. The status comes in an object, since the command may still be ending. */
async function untilStopped(
  server: Server,
  settings: Settings,
  signal: Promise<void>,
): Promise<{ readonly status: Promise<number> | number }> {
  const { run, exportName } = settings;
  if (run === undefined) {
    await signal;
    return { status: 0 };
  }
  const place = onlyPlace(settings);
  const host = place.kind === "tcp" ? place.address : undefined;
  const command = startCommand(run, { address: server.address, host, exportName });
  await Promise.race([signal, command.status]);
  command.terminate();
  return { status: command.status };
}

/** Several at once, vsock, and none at all are not there yet. */
function onlyPlace({ listen: [place, ...others] }: Settings): Place {
  if (place !== undefined && others.length === 0) return place;
  throw new ConfigError("listening in several places at once is not supported yet");
}

/** Disposing of it removes what was made for it. */
function listenPlace(place: Place): Disposable & { readonly listen: Listen } {
  switch (place.kind) {
    case "private":
      return privatePlace();
    case "tcp": {
      const { port, address } = place;
      return permanent(address === undefined ? { port } : { port, address });
    }
    case "unix":
      return permanent({ unix: place.path });
    case "vsock":
      throw new ConfigError("listening on vsock is not supported yet");
    default:
      return place satisfies never;
  }
}

function permanent(where: Listen): Disposable & { readonly listen: Listen } {
  return { listen: where, [Symbol.dispose]() {} };
}

/** A socket in a folder that only this user may enter. */
function privatePlace(): Disposable & { readonly listen: Listen } {
  // Not in $TMPDIR, whose length is not known: the path of a socket must be short.
  const folder = mkdtempSync("/tmp/nbdkit");
  const remove = (): void => {
    rmSync(folder, { recursive: true, force: true });
  };
  // Also when a second signal or a bug ends the program.
  process.on("exit", remove);
  const socket = join(folder, "socket");
  log.debug(`using the private socket ${socket}`);
  return {
    listen: { unix: socket },
    [Symbol.dispose]() {
      remove();
      process.off("exit", remove);
    },
  };
}

/** nbdkit(1), "-P": clients may connect once the file exists. It stays when the server ends. */
function writePidFile(path: string): void {
  try {
    writeFileSync(path, `${process.pid}\n`, { mode: 0o644 });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConfigError(`cannot write the pid file ${path}: ${reason}`, { cause: error });
  }
}

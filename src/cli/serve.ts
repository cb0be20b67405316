/** Serves a configured chain until a signal or the end of the command of --run, then takes it down. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { ConfigError, NbdError } from "../api/errors.ts";
import type { Chain } from "../chain/chain.ts";
import { log } from "../lib/log.ts";
import { type Server, type ServerOptions, startServer } from "../server/server.ts";
import { startCommand } from "./captive.ts";
import type { Place, Settings } from "./command-line.ts";
import { stopSignals } from "./signals.ts";

type Listen = ServerOptions["listen"];

/** The exit status: that of the command of --run, else 0. */
export async function serve(chain: Chain, settings: Settings): Promise<number> {
  using stop = stopSignals();
  using place = listenPlace(settings.place);
  const server = await listen(chain, place.listen, settings);
  if (settings.pidFile !== undefined) writePidFile(settings.pidFile);
  await chain.afterFork();

  const status = await captive(server, settings, stop.first);
  await server.stop();
  const result = await status();
  await chain.cleanup();
  await chain.unload();
  return result;
}

/** Wait until the server has to stop. The result tells the status, waiting for the command if there is one. */
async function captive(
  server: Server,
  { run, exportName, place }: Settings,
  stopped: Promise<void>,
): Promise<() => Promise<number>> {
  if (run === undefined) {
    await stopped;
    return () => Promise.resolve(0);
  }
  const address = place.kind === "tcp" ? place.address : undefined;
  const command = startCommand(run, { address: server.address, host: address, exportName });
  await Promise.race([stopped, command.status]);
  command.terminate();
  return () => command.status;
}

async function listen(chain: Chain, where: Listen, settings: Settings): Promise<Server> {
  const { readonly, threads } = settings;
  try {
    return await startServer(chain, { listen: where, readonly, threads });
  } catch (error) {
    if (error instanceof ConfigError || error instanceof NbdError) throw error;
    // An error of the system, such as EADDRINUSE, is the user's to solve. Others are bugs.
    if (!(error instanceof Error && "code" in error && typeof error.code === "string")) throw error;
    const name =
      "unix" in where ? `socket ${where.unix}` : `${where.address ?? "*"} port ${where.port}`;
    throw new ConfigError(`cannot listen on ${name}: ${error.code}: ${error.message}`, {
      cause: error,
    });
  }
}

/** Disposing of it removes what was made for it. */
function listenPlace(place: Place): Disposable & { readonly listen: Listen } {
  if (place.kind !== "private") {
    const { kind, ...rest } = place;
    const where = "path" in rest ? { unix: rest.path } : rest;
    log.debug(`listening on ${kind} ${JSON.stringify(where)}`);
    return { listen: where, [Symbol.dispose]() {} };
  }
  // Not in $TMPDIR, whose length is not known: the path of a socket must be short.
  const folder = mkdtempSync("/tmp/nbdkit");
  const remove = (): void => {
    rmSync(folder, { recursive: true, force: true });
  };
  // Also when a second signal or a bug ends the program.
  process.on("exit", remove);
  return {
    listen: { unix: join(folder, "socket") },
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

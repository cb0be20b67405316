/** Serves a configured chain until a signal or the end of the command of --run, then takes it down. */
import { closeSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { isatty } from "node:tty";

import type { Chain } from "../chain/chain.ts";
import { watchUnanswered } from "../chain/unanswered.ts";
import { ConfigError } from "../lib/errors.ts";
import { log } from "../lib/log.ts";
import { announceStop } from "../lib/stopping.ts";
import { messageOf } from "../lib/thrown.ts";
import { type Server, startServer } from "../server/server.ts";
import type { Address } from "../server/sockets.ts";
import type { ServerTls } from "../server/tls.ts";
import { lockMemory, signalOnParentsEnd } from "../sys/process.ts";
import { type CaptiveCommand, holdCommand } from "./captive.ts";
import type { Daemon } from "./daemon.ts";
import { surviveFaults } from "./faults.ts";
import { stillWaitingMs } from "./limits.ts";
import { type ListenPlaces, listenPlaces } from "./listen-places.ts";
import { sendStdoutToStderr } from "./module-output.ts";
import { openOutput } from "./output-file.ts";
import { print } from "./print.ts";
import type { Settings } from "./settings.ts";
import { type Leaving, ShutdownLimit } from "./shutdown-limit.ts";
import { type StopSignals, stopSignals } from "./signals.ts";
import {
  discardOutput,
  followStderr,
  type StandardStreams,
  takeStandardStreams,
} from "./standard-streams.ts";
import { canHaveUri, printedUris, uriOf, type UriOptions } from "./uri.ts";
import { changeUser, userId } from "./user.ts";
import { watchBlocking } from "./watchdog.ts";

/** How the process was started. */
export interface Origin {
  /** Undefined in the foreground. */
  readonly daemon?: Daemon | undefined;
  /** Sockets from socket activation. */
  readonly activated?: readonly number[] | undefined;
  readonly tls: ServerTls;
  /** The streams, if they had to be replaced before modules were loaded. */
  readonly streams?: StandardStreams | undefined;
}

/** The exit status: that of the command of --run, else 0. */
export async function serve(chain: Chain, settings: Settings, origin: Origin): Promise<number> {
  using streams = origin.streams ?? takeStandardStreams();
  sendStdoutToStderr();
  if (!isAllTypeScript(chain)) discardOutput();
  using stop = stopSignals();
  if (settings.swap) lockAllMemory();
  using places = placesFor(settings, origin);
  using watching = new DisposableStack();
  watching.use(watchBlocking(chain));
  const life = new Life(chain, settings, origin, streams, places);
  using limit = new ShutdownLimit(settings.shutdownSeconds, life);
  // This also applies while the server starts.
  void stop.first.then(() => limit.start());
  const { policy, sockets } = settings;
  const server = await startServer(chain, {
    listen: places.targets,
    sockets,
    policy,
    tls: origin.tls,
    onBound: (addresses) => life.bound(addresses),
  });
  life.server = server;

  watching.use(surviveFaults());
  watching.use(watchUnanswered());
  const { status, by } = await life.untilStopped(server, stop, limit);
  limit.start();
  const patience = reportWait(server);
  announceStop();
  await server.stop();
  clearTimeout(patience);
  await chain.cleanup();
  await chain.unload();
  // The command may continue, and clients that connect then must find no server.
  places[Symbol.dispose]();
  life.waitsForCommand = true;
  if (by === "module") limit[Symbol.dispose]();
  // Wait here, because signals are handled only until this function returns.
  return await status;
}

function isAllTypeScript({ layers }: Chain): boolean {
  return layers.every(({ inTypeScript }) => inTypeScript === true);
}

function placesFor({ listen, single }: Settings, { activated }: Origin): ListenPlaces {
  if (activated === undefined) return listenPlaces(single ? [] : listen);
  return { targets: activated.map((fd) => ({ fd })), giveTo() {}, [Symbol.dispose]() {} };
}

/** Everything between binding and stopping. */
class Life implements Leaving {
  server: Server | undefined;
  waitsForCommand = false;
  readonly #chain: Chain;
  readonly #settings: Settings;
  readonly #origin: Origin;
  readonly #streams: StandardStreams;
  readonly #places: ListenPlaces;
  readonly #uri: UriOptions;
  #command: CaptiveCommand | undefined;

  constructor(
    chain: Chain,
    settings: Settings,
    origin: Origin,
    streams: StandardStreams,
    places: ListenPlaces,
  ) {
    this.#chain = chain;
    this.#settings = settings;
    this.#origin = origin;
    this.#streams = streams;
    this.#places = places;
    const mode = origin.tls.mode === "unsupported" ? "off" : origin.tls.mode;
    this.#uri = { ...settings, tls: { ...settings.tls, mode } };
  }

  /** Runs once the sockets exist. The server greets clients when the promise resolves. */
  async bound(addresses: readonly Address[]): Promise<void> {
    const { run, user, group, exitWithParent, pidFile, printUri } = this.#settings;
    const { daemon } = this.#origin;
    const [address] = addresses;
    // Before the user changes: only the server gives up privileges, not the command.
    if (run !== undefined && address !== undefined) {
      this.#command = holdCommand(run, { address, ...this.#uri }, this.#streams);
    }
    const owner = user === undefined ? undefined : userId(user);
    if (owner !== undefined) this.#places.giveTo(owner);
    changeUser(user, group);
    // changeUser() cleared PR_SET_PDEATHSIG; set it again.
    if (exitWithParent) endWithParent();
    daemon?.detach();
    if (daemon !== undefined && isAllTypeScript(this.#chain)) followStderr();
    if (pidFile !== undefined) writePidFile(pidFile);
    await this.#chain.afterFork();
    if (printUri) print(printedUris(addresses, this.#uri), this.#streams.output);
    if (this.#isWatched) log.notice(servingLine(addresses, this.#uri));
    // A program may be waiting for the end of the daemon's output.
    if (run === undefined && !this.#settings.single) this.#streams[Symbol.dispose]();
    daemon?.ready();
    this.#command?.release();
  }

  /** A user sits at the terminal and waits for the server to start. */
  get #isWatched(): boolean {
    const { log: target, run, single } = this.#settings;
    const { activated, daemon } = this.#origin;
    const isInFront =
      daemon === undefined && activated === undefined && run === undefined && !single;
    return isInFront && (target === "default" || target === "stderr") && isatty(2);
  }

  /** Wait until the server has to stop. The status comes in an object, since the command may continue. */
  async untilStopped(
    server: Server,
    stop: StopSignals,
    limit: ShutdownLimit,
  ): Promise<{ readonly status: Promise<number> | number; readonly by?: "signal" | "module" }> {
    const command = this.#command;
    if (command !== undefined) {
      // As in nbdkit, the command continues if the server has ended by itself.
      const by = await Promise.race([stop.first, command.status]);
      if (by === "module") void stop.signal.then(command.terminate);
      else command.terminate();
      const { status } = command;
      return by === "signal" || by === "module" ? { status, by } : { status };
    }
    const { first } = stop;
    await (this.#settings.single ? Promise.race([first, this.#serveOne(server, limit)]) : first);
    return { status: 0 };
  }

  cleanUp(): void {
    this.#command?.kill();
    this.#places[Symbol.dispose]();
  }

  #serveOne(server: Server, limit: ShutdownLimit): Promise<void> {
    const { input, output } = this.#streams;
    this.#streams.give();
    return server.serveStreams(input, output, () => limit.clientLeft());
  }
}

function servingLine(addresses: readonly Address[], options: UriOptions): string {
  const places = addresses.filter(canHaveUri).map((address) => uriOf(address, options));
  return `serving ${places.join(", ") || "clients"}: Ctrl-C stops it`;
}

/** --exit-with-parent. */
export function endWithParent(): void {
  signalOnParentsEnd(constants.signals.SIGTERM);
}

function lockAllMemory(): void {
  try {
    lockMemory();
    log.debug("mlockall done");
  } catch (error) {
    const reason = messageOf(error);
    throw new ConfigError(
      `option --swap: cannot lock the memory: ${reason}: ` +
        "expected CAP_IPC_LOCK or a high RLIMIT_MEMLOCK",
      { cause: error },
    );
  }
}

/** A layer whose promise never settles, or that sleeps for long, delays the end: log it. */
function reportWait(server: Server): NodeJS.Timeout {
  return setTimeout(() => {
    log.error(
      `still waiting for ${server.connections} client(s) whose requests the layers have not answered: ` +
        "another signal ends the server at once",
    );
  }, stillWaitingMs);
}

/** nbdkit(1), "-P": clients may connect once the file exists. It stays when the server ends. */
function writePidFile(path: string): void {
  try {
    const fd = openOutput(path, "replace", 0o644);
    try {
      writeFileSync(fd, `${process.pid}\n`);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw new ConfigError(`cannot write the pid file ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  log.debug(`written pidfile ${path}`);
}

/** Runs one command line from parsing to the exit status, in the order of nbdkit's life cycle. */
import type { Chain } from "../chain/chain.ts";
import { sharing } from "../chain/connection-info.ts";
import { logFailure } from "../chain/failure.ts";
import { DebugFlags } from "../lib/debug-flags.ts";
import { ConfigError, NbdError } from "../lib/errors.ts";
import { askForRoom, log } from "../lib/log.ts";
import { takeStreams } from "../lib/standard-streams.ts";
import { messageOf } from "../lib/thrown.ts";
import { loadChain } from "../modules/build.ts";
import { findScriptPlugin } from "../modules/find.ts";
import { logTls, prepareTls } from "../server/tls.ts";
import { lastErrno } from "../sys/call.ts";
import { rememberOpenFiles } from "../sys/open-files.ts";
import { discard, hasRoom, nameProcess } from "../sys/process.ts";
import { usage } from "./arguments.ts";
import { type Action, parseCommandLine, type Print } from "./command-line.ts";
import { type Daemon, enterDaemon, startDaemon } from "./daemon.ts";
import { dumpPlugin } from "./dump.ts";
import { chooseLog } from "./error-log.ts";
import { passOnDescriptors } from "./given-descriptors.ts";
import { dumpConfig, layerHelp, layerVersions, versionLine } from "./information.ts";
import { inspect } from "./inspect.ts";
import { sendConsoleToStderr } from "./module-output.ts";
import { longOptions, shortOptions } from "./options.ts";
import { parseParameters } from "./parameters.ts";
import { print } from "./print.ts";
import { refuseEndlessScript, runScriptPlugin } from "./script-plugin.ts";
import { endWithParent, serve } from "./serve.ts";
import type { Settings } from "./settings.ts";
import { catchWriteSignals } from "./signals.ts";
import { activatedSockets } from "./socket-activation.ts";
import {
  checkStandardStreams,
  clientHasStderr,
  type StandardStreams,
  takeStandardStreams,
} from "./standard-streams.ts";
import { version } from "./version.ts";

/** The exit status. Rejects only for bugs. */
export async function nbdkit(argv: readonly string[]): Promise<number> {
  process.umask(0o022);
  try {
    checkLibc();
    askForRoom(hasRoom);
    passOnDescriptors();
    rememberOpenFiles();
    catchWriteSignals();
    return await run(argv);
  } catch (error) {
    if (!(error instanceof ConfigError || error instanceof NbdError)) throw error;
    logFailure(error);
    return 1;
  }
}

/** Reports at once that libc cannot be called, since everything else depends on it. */
function checkLibc(): void {
  try {
    lastErrno();
  } catch (error) {
    throw new ConfigError(messageOf(error), { cause: error });
  }
}

/** `isScript`: the arguments come from a script plugin, whose first line names another plugin. */
async function run(argv: readonly string[], isScript = false): Promise<number> {
  const line = parseCommandLine(argv);
  switch (line.kind) {
    case "usage":
      log.error(`${line.problem} (try nbdkit --help)`);
      return 1;
    case "print":
      print(printed(line.what));
      return 0;
    case "inspect":
      for (const warning of line.warnings) log.warning(warning);
      return inspect(line.request);
    case "load": {
      const { settings, action, rest, warnings } = line;
      log.verbose = settings.verbose;
      log.serverName = settings.name;
      chooseLog(settings.log);
      const script = isScript ? undefined : findScriptPlugin(settings.plugin);
      if (script === undefined) return load(action, settings, warnings);
      log.debug(`running the plugin ${script}`);
      return run(await runScriptPlugin(script, settings.plugin, rest), true);
    }
    default:
      return line satisfies never;
  }
}

function printed(what: Print): string {
  switch (what) {
    case "dump-config":
      return dumpConfig();
    case "help":
      return usage();
    case "long-options":
      return longOptions();
    case "short-options":
      return shortOptions();
    case "version":
      return versionLine();
    default:
      return what satisfies never;
  }
}

async function load(
  action: Action,
  settings: Settings,
  warnings: readonly string[],
): Promise<number> {
  sendConsoleToStderr();
  const daemon = action === "serve" ? enterDaemon(settings) : undefined;
  // The first process has already printed them.
  for (const warning of daemon === undefined ? warnings : []) log.warning(warning);
  switch (action) {
    case "serve":
      return start(settings, daemon);
    case "help": {
      const chain = await loadLayers(settings);
      print(layerHelp(chain.layers) + usage());
      await chain.unload();
      return 0;
    }
    case "version": {
      const chain = await loadLayers(settings);
      print(versionLine() + layerVersions(chain.layers));
      await chain.unload();
      return 0;
    }
    case "dump-plugin": {
      const chain = await loadLayers(settings);
      await configure(chain, settings);
      await dumpPlugin(chain);
      await chain.unload();
      return 0;
    }
    default:
      return action satisfies never;
  }
}

/** A daemon loads the modules in its own process. */
async function start(settings: Settings, daemon: Daemon | undefined): Promise<number> {
  if (daemon === undefined) log.debug(versionLine().trimEnd());
  // Otherwise ps(1) and pgrep(1) would show the name of Bun.
  nameProcess("nbdkit");
  const activated = daemon === undefined ? activatedSockets(settings) : undefined;
  const background = !settings.foreground && activated === undefined;
  if (background && daemon === undefined) return startDaemon();
  if (settings.exitWithParent) endWithParent();
  const streams = settings.single ? streamsOfClient(settings) : undefined;
  const tls = prepareTls(settings.tls);
  sharing.isTls = tls.mode === "require";
  const chain = await loadLayers(settings);
  logTls(tls);
  await configure(chain, settings);
  await chain.configComplete();
  takeStreams();
  await chain.getReady();
  return serve(chain, settings, { daemon, activated, tls, streams });
}

/** -s: from now on modules' output must not reach the client. */
function streamsOfClient({ log: target }: Settings): StandardStreams {
  checkStandardStreams();
  takeStreams();
  if (clientHasStderr()) {
    discard(2);
    chooseLog(target === "default" || target === "stderr" ? "syslog" : target);
  }
  return takeStandardStreams();
}

async function loadLayers(settings: Settings): Promise<Chain> {
  const debugFlags = new DebugFlags(settings.debugFlags);
  const { threads } = settings.policy;
  const chain = await loadChain({ ...settings, threads, debugFlags, version });
  debugFlags.finish();
  return chain;
}

async function configure(chain: Chain, settings: Settings): Promise<void> {
  for (const [key, value] of parseParameters(settings.parameters, chain.magicConfigKey)) {
    refuseEndlessScript(chain.pluginName, key, value);
    await chain.config(key, value);
  }
}

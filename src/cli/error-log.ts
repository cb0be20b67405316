/** Sends error messages to the destination of --log. */
import { ConfigError } from "../lib/errors.ts";
import { log, sendErrorsTo } from "../lib/log.ts";
import { messageOf } from "../lib/thrown.ts";
import { openSystemLog } from "../sys/process.ts";
import { openOutput } from "./output-file.ts";
import type { LogTarget } from "./settings.ts";

/** `default` is stderr here: a daemon selects syslog itself. */
export function chooseLog(target: LogTarget): void {
  if (target === "default" || target === "stderr") {
    sendErrorsTo({ fd: 2 });
  } else if (target === "syslog") {
    sendErrorsTo({ systemLog: openSystemLog(log.serverName ?? "nbdkit") });
  } else if (target === "null") {
    sendErrorsTo("nowhere");
  } else {
    sendErrorsTo({ fd: openLog(target.file) });
  }
}

const opened = new Map<string, number>();

/** Open it once: a daemon selects again, when relative paths and privileges may have changed. */
function openLog(file: string): number {
  try {
    const fd = opened.get(file) ?? openOutput(file, "append", 0o644);
    opened.set(file, fd);
    return fd;
  } catch (error) {
    throw new ConfigError(`option --log: cannot write to ${file}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** The watchdog's thread: see watchdog.ts. */
import { log, sendErrorsTo } from "../lib/log.ts";
import { openSystemLog } from "../sys/process.ts";
import { Blocking } from "./blocking-report.ts";
import type { Watched } from "./blocking-report.ts";
import { watchdogLookMs } from "./limits.ts";

/** This file runs in a Worker, whose global object has these. */
declare const self: Worker;

let blocking: Blocking | undefined;

self.addEventListener("message", ({ data }: MessageEvent<Watched | undefined>) => {
  // In a Worker this ends only the thread.
  if (data === undefined) process.exit(0);
  const { serverName, target } = data;
  log.serverName = serverName;
  if (target === "systemLog") sendErrorsTo({ systemLog: openSystemLog(serverName ?? "nbdkit") });
  else sendErrorsTo(target);
  blocking ??= new Blocking(data);
});

setInterval(() => {
  const message = blocking?.look();
  if (message !== undefined) log.error(message);
}, watchdogLookMs);

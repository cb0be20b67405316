/**
 * Logs which layer blocks JavaScript, from another thread: while JavaScript is blocked, no client
 * is served and no timer fires.
 */
import type { Chain } from "../chain/chain.ts";
import { memory, methods, methodsPerLayer, now, titles } from "../chain/running.ts";
import { log, watchErrorTarget } from "../lib/log.ts";
import { isOurs } from "../modules/find.ts";
import type { Watched } from "./blocking-report.ts";
import { watchdogLookMs } from "./limits.ts";

/**
 * Watches until it is disposed of. Only TypeScript layers can block JavaScript, and bundled ones
 * should not, so the thread is started only for others.
 */
export function watchBlocking({ layers }: Chain): Disposable {
  if (!layers.some(({ inTypeScript, path }) => inTypeScript === true && !isOurs(path)))
    return { [Symbol.dispose]() {} };
  const worker = new Worker(new URL("watchdog-thread.ts", import.meta.url), { smol: true });
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    log.debug(`cannot start the watchdog thread: ${event.message}`);
  });
  worker.unref();
  watchErrorTarget((target) => {
    const watched: Watched = {
      memory,
      methods,
      methodsPerLayer,
      titles,
      serverName: log.serverName,
      target: target === "nowhere" || "fd" in target ? target : "systemLog",
    };
    worker.postMessage(watched);
  });
  const timer = setInterval(() => {
    now[1] = ((now[1] ?? 0) + 1) | 0;
  }, watchdogLookMs).unref();
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      worker.postMessage(undefined);
    },
  };
}

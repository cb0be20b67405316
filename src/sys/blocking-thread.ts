/** A thread that makes blocking system calls, one at a time: see blocking.ts. */
import { type Order, perform } from "./blocking-calls.ts";

/** This file runs in a Worker, and this is its global object. */
declare const self: Worker;

self.addEventListener("message", ({ data }: MessageEvent<Order | undefined>) => {
  // In a Worker this ends only the thread.
  if (data === undefined) process.exit(0);
  self.postMessage(perform(data));
});

/** A thread that makes system calls which may wait, one after the other: see blocking.ts. */
import { type Order, perform } from "./blocking-calls.ts";

/** This file runs in a Worker, whose global object has these. */
declare const self: Worker;

self.addEventListener("message", ({ data }: MessageEvent<Order | undefined>) => {
  // Only the thread ends.
  if (data === undefined) process.exit(0);
  self.postMessage(perform(data));
});

#!/usr/bin/env bun
/** The program: runs the command line and ends with its status. */
import { nbdkit } from "./cli/nbdkit.ts";
import { log } from "./lib/log.ts";

/** A bug of ours, or of a module where the chain does not catch it. */
function fail(error: unknown): never {
  log.error(error instanceof Error ? (error.stack ?? error.message) : String(error));
  process.exit(1);
}

process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);
// Native threads may still wait for work: nothing that could need them is left.
process.exit(await nbdkit(process.argv.slice(2)).catch(fail));

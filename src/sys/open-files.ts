/** The limit of open files. Bun raises it when it starts; C modules and commands get the original one. */
import { callsOf, checked } from "./call.ts";
import { RLIMIT_NOFILE, sizeOf } from "./generated/libc.gen.ts";
import { unsetVariable } from "./process.ts";

const unlimited = 2n ** 64n - 1n;

const libc = callsOf("getrlimit", "setrlimit");

/** Set by the launcher: its pid, which becomes this process's, and the limit as ulimit(1) prints it. */
const variable = "NBDKIT_OPEN_FILES";

let initial: bigint | undefined;

/** Remember the limit that the server was started with. The first process of a daemon passes on its own. */
export function rememberOpenFiles(): void {
  const value = process.env[variable];
  if (value === undefined) return;
  unsetVariable(variable);
  const [, pid, limit] = /^(\d+):(\d+|unlimited)$/.exec(value) ?? [];
  if (limit === undefined || ![process.pid, process.ppid].includes(Number(pid))) return;
  initial = limit === "unlimited" ? unlimited : BigInt(limit);
}

/** The limit that the server was started with, as ulimit(1) accepts it; undefined if it is not known. */
export function initialOpenFiles(): string | undefined {
  return initial === unlimited ? "unlimited" : initial?.toString();
}

/** Set the limit of this process to the original one, which modules that use select(2) rely on. */
export function restoreOpenFiles(): void {
  if (initial === undefined) return;
  const limits = readLimits();
  if (limits[0] === initial) return;
  limits[0] = initial;
  checked("setrlimit", libc().setrlimit(RLIMIT_NOFILE, limits));
}

/**
 * Call `start`, which starts a process, with the highest limit. Bun cannot pass on inherited descriptors whose numbers
 * are above the present limit.
 */
export function withMostOpenFiles<T>(start: () => T): T {
  const limits = readLimits();
  const [soft = 0n, hard = 0n] = limits;
  if (soft === hard) return start();
  limits[0] = hard;
  checked("setrlimit", libc().setrlimit(RLIMIT_NOFILE, limits));
  try {
    return start();
  } finally {
    limits[0] = soft;
    libc().setrlimit(RLIMIT_NOFILE, limits);
  }
}

/** The present limit of this process. */
export function openFilesLimit(): number {
  return Number(readLimits()[0]);
}

/** A struct rlimit: the soft and the hard limit. */
function readLimits(): BigUint64Array {
  const limits = new BigUint64Array(sizeOf.rlimit / BigUint64Array.BYTES_PER_ELEMENT);
  checked("getrlimit", libc().getrlimit(RLIMIT_NOFILE, limits));
  return limits;
}

/** What a server does to its own process and node:process cannot: descriptors, sessions, memory, the system's log. */
import { type Pointer, ptr, read } from "bun:ffi";
import { closeSync, openSync, readdirSync, readlinkSync } from "node:fs";
import { constants } from "node:os";

import { callsOf, checked } from "./call.ts";
import {
  F_DUPFD_CLOEXEC,
  F_GETFD,
  F_GETFL,
  F_SETFD,
  F_SETFL,
  FD_CLOEXEC,
  LOG_DAEMON,
  LOG_ERR,
  LOG_PID,
  MCL_CURRENT,
  MCL_FUTURE,
  MCL_ONFAULT,
  O_NONBLOCK,
  offsetOf,
  POLLOUT,
  PR_SET_NAME,
  PR_SET_PDEATHSIG,
} from "./generated/libc.gen.ts";
import { poll } from "./poll.ts";
import { cBytes, cString } from "./text.ts";

const libc = callsOf(
  "_exit",
  "dlsym",
  "dup2",
  "exit",
  "fcntl",
  "fflush",
  "getpwnam",
  "getpwuid",
  "getservbyname",
  "initgroups",
  "mlockall",
  "openlog",
  "prctl",
  "setgroups",
  "setsid",
  "signal",
  "syslog",
  "unsetenv",
);

/** A copy of the descriptor, above the standard streams, that no program inherits. */
export function duplicate(fd: number): number {
  return checked("fcntl", libc().fcntl(fd, F_DUPFD_CLOEXEC, 3));
}

/** Whether the descriptor is open, and whether programs inherit it. */
export function descriptorState(fd: number): "closed" | "inherited" | "private" {
  const flags = libc().fcntl(fd, F_GETFD, 0);
  if (flags === -1) return "closed";
  return (flags & FD_CLOEXEC) === 0 ? "inherited" : "private";
}

/** Let programs inherit the descriptor, or not. */
export function setInherited(fd: number, inherited: boolean): void {
  checked("fcntl", libc().fcntl(fd, F_SETFD, inherited ? 0 : FD_CLOEXEC));
}

/** Descriptors above the standard streams that are not Bun's: Bun has some, which have no names of files. */
export function foreignDescriptors(): readonly number[] {
  return readdirSync("/proc/self/fd")
    .map(Number)
    .filter((fd) => fd > 2 && isForeign(fd));
}

function isForeign(fd: number): boolean {
  try {
    return !readlinkSync(`/proc/self/fd/${fd}`).startsWith("anon_inode:");
  } catch {
    // It was the folder's own.
    return false;
  }
}

/** Let reads and writes of the descriptor wait. */
export function setBlocking(fd: number): void {
  const flags = checked("fcntl", libc().fcntl(fd, F_GETFL, 0));
  if ((flags & O_NONBLOCK) === 0) return;
  checked("fcntl", libc().fcntl(fd, F_SETFL, flags & ~O_NONBLOCK));
}

/** Let the descriptor mean /dev/null from now on. Programs inherit it. */
export function discard(fd: number): void {
  const nowhere = openSync("/dev/null", "r+");
  try {
    redirect(fd, nowhere);
  } finally {
    closeSync(nowhere);
  }
}

/** Let a descriptor stand for what another one stands for: dup2(2). */
export function redirect(fd: number, to: number): void {
  checked("dup2", libc().dup2(to, fd));
}

/**
 * Whether a page may be written to the descriptor without waiting for a reader, now or within `waitMs` (for ever if
 * that is negative). Even if writing fails at once.
 */
export function hasRoom(fd: number, waitMs: number): boolean {
  const until = performance.now() + waitMs;
  for (;;) {
    const rest = waitMs < 0 ? -1 : Math.max(0, Math.ceil(until - performance.now()));
    const events = poll([fd], POLLOUT, rest);
    if (events !== undefined) return events[0] !== 0;
  }
}

/**
 * Write out what C modules have printed, and give back what they have read ahead: in a file, the next reader of stdin
 * goes on behind what they took. What was read ahead of a pipe is lost, as with nbdkit.
 */
export function flushStreams(): void {
  const { dlsym, fflush } = libc();
  fflush(null);
  const stdin = dlsym(null, "stdin");
  if (stdin !== null) fflush(read.ptr(stdin, 0) as Pointer);
}

let runsC = false;

/** C code was loaded: `endProcess` has to end as C programs do. */
export function endAsC(): void {
  runsC = true;
}

/** The signals that end a process and whose handlers in JavaScript do not run any more. */
const ending = [constants.signals.SIGHUP, constants.signals.SIGINT].concat(
  constants.signals.SIGQUIT,
  constants.signals.SIGTERM,
);

/**
 * End the process. With C modules exit(3) does it, since theirs are what it runs: handlers of atexit(3), destructors,
 * and streams with something in them. Bun ends without all that.
 */
export function endProcess(status: number): never {
  // After all other listeners.
  if (runsC) process.once("exit", exitAsC);
  process.exit(status);
}

/** End the process where other threads may hang for ever, with locks that handlers of exit(3) would wait for. */
export function endAtOnce(status: number): never {
  // After all other listeners.
  process.once("exit", () => libc()._exit(status));
  process.exit(status);
}

function exitAsC(status: number): void {
  for (const number of ending) libc().signal(number, null);
  libc().exit(status);
}

/** Leave the session of the process's starter, and with it the terminal. */
export function leaveSession(): void {
  checked("setsid", libc().setsid());
}

/** What ps(1), pgrep(1) and killall(1) call this process: at most 15 bytes. To be called on its first thread. */
export function nameProcess(name: string): void {
  const text = cBytes(name);
  checked("prctl", libc().prctl(PR_SET_NAME, ptr(text), 0, 0, 0));
}

/** Send this process the signal when its parent ends; 0 sends none. Changing the user ends it. */
export function signalOnParentsEnd(signal: number): void {
  checked("prctl", libc().prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0));
}

/**
 * Keep in memory all that is there, and what will be. Not what was only reserved: Bun reserves gigabytes that it
 * will never use, and without MCL_ONFAULT the kernel would fill them all.
 */
export function lockMemory(): void {
  checked("mlockall", libc().mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT));
}

/** The number of the user of that name. */
export function userNamed(name: string): number | undefined {
  const entry = libc().getpwnam(cString(name));
  return entry === null ? undefined : read.u32(entry, offsetOf.passwd.pw_uid);
}

/**
 * Set the supplementary groups to those that the group database has for the user, and the group of
 * this process. A number that no user has is in no group.
 */
export function takeGroupsOf(user: number): void {
  const group = process.getegid?.() ?? 0;
  const entry = libc().getpwuid(user);
  if (entry === null) {
    checked("setgroups", libc().setgroups(1, Uint32Array.of(group)));
  } else {
    const name = read.ptr(entry, offsetOf.passwd.pw_name) as Pointer;
    checked("initgroups", libc().initgroups(name, group));
  }
}

/** The TCP port of that service. */
export function portNamed(service: string): number | undefined {
  const entry = libc().getservbyname(cString(service), "tcp");
  if (entry === null) return undefined;
  // The low half of an int, big-endian.
  const at = offsetOf.servent.s_port;
  return read.u8(entry, at) * 256 + read.u8(entry, at + 1);
}

/** Remove a variable for C modules and what they start, too, which `delete process.env` does not. */
export function unsetVariable(name: string): void {
  delete process.env[name];
  libc().unsetenv(name);
}

/** openlog(3) keeps the address. The memory of cBytes does not move. */
let identity = cBytes("");

/** Opens the system's log under the name. What is returned writes an error there, also for C: syslog(3). */
export function openSystemLog(name: string): (message: string) => void {
  identity = cBytes(name);
  libc().openlog(ptr(identity), LOG_PID, LOG_DAEMON);
  return (message) => libc().syslog(LOG_DAEMON | LOG_ERR, "%s", cString(message));
}

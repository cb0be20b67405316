/** Changes of the server's own process that node:process lacks: descriptors, session, memory, the system log. */
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

/** A copy of the descriptor, above the standard streams, that programs do not inherit. */
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

/** The descriptors above the standard streams that are not Bun's own. Bun's have no file names. */
export function foreignDescriptors(): readonly number[] {
  return readdirSync("/proc/self/fd")
    .map(Number)
    .filter((fd) => fd > 2 && isForeign(fd));
}

function isForeign(fd: number): boolean {
  try {
    return !readlinkSync(`/proc/self/fd/${fd}`).startsWith("anon_inode:");
  } catch {
    // It was readdirSync's own descriptor.
    return false;
  }
}

/** Make the descriptor blocking. */
export function setBlocking(fd: number): void {
  const flags = checked("fcntl", libc().fcntl(fd, F_GETFL, 0));
  if ((flags & O_NONBLOCK) === 0) return;
  checked("fcntl", libc().fcntl(fd, F_SETFL, flags & ~O_NONBLOCK));
}

/** Redirect the descriptor to /dev/null. Programs inherit it. */
export function discard(fd: number): void {
  const nowhere = openSync("/dev/null", "r+");
  try {
    redirect(fd, nowhere);
  } finally {
    closeSync(nowhere);
  }
}

/** Make `fd` a copy of the descriptor `to`: dup2(2). */
export function redirect(fd: number, to: number): void {
  checked("dup2", libc().dup2(to, fd));
}

/**
 * Whether the descriptor accepts a page without blocking, now or within `waitMs` (forever if negative). Also true if
 * writing fails at once.
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
 * Flush the streams of C modules. If stdin is a file, also seek back over data that they have read ahead, so that the
 * next reader continues behind the data they took. Data read ahead from a pipe is lost, as with nbdkit.
 */
export function flushStreams(): void {
  const { dlsym, fflush } = libc();
  fflush(null);
  const stdin = dlsym(null, "stdin");
  if (stdin !== null) fflush(read.ptr(stdin, 0) as Pointer);
}

let runsC = false;

/** C code was loaded, so `endProcess` must end the process as C programs do. */
export function endAsC(): void {
  runsC = true;
}

/** Signals that end the process. Their handlers in JavaScript no longer run at exit. */
const ending = [constants.signals.SIGHUP, constants.signals.SIGINT].concat(
  constants.signals.SIGQUIT,
  constants.signals.SIGTERM,
);

/**
 * End the process. With C modules call exit(3), which runs their atexit(3) handlers and destructors and flushes their
 * streams. Bun ends without these.
 */
export function endProcess(status: number): never {
  // After all other listeners.
  if (runsC) process.once("exit", exitAsC);
  process.exit(status);
}

/** End the process although other threads may hang forever, holding locks that handlers of exit(3) would wait for. */
export function endAtOnce(status: number): never {
  // After all other listeners.
  process.once("exit", () => libc()._exit(status));
  process.exit(status);
}

function exitAsC(status: number): void {
  for (const number of ending) libc().signal(number, null);
  libc().exit(status);
}

/** Start a new session, without the terminal of the old one. */
export function leaveSession(): void {
  checked("setsid", libc().setsid());
}

/** Set the name that ps(1), pgrep(1) and killall(1) know, of at most 15 bytes. Call it on the first thread. */
export function nameProcess(name: string): void {
  const text = cBytes(name);
  checked("prctl", libc().prctl(PR_SET_NAME, ptr(text), 0, 0, 0));
}

/** Make the kernel send this process the signal when its parent ends; 0 turns this off, as does changing the user. */
export function signalOnParentsEnd(signal: number): void {
  checked("prctl", libc().prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0));
}

/**
 * Lock all present and future pages in memory as they are used. Bun reserves gigabytes that it never uses; without
 * MCL_ONFAULT the kernel would allocate them all.
 */
export function lockMemory(): void {
  checked("mlockall", libc().mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT));
}

/** The number of the user with this name. */
export function userNamed(name: string): number | undefined {
  const entry = libc().getpwnam(cString(name));
  return entry === null ? undefined : read.u32(entry, offsetOf.passwd.pw_uid);
}

/**
 * Set the supplementary groups to the user's groups in the group database, and the group of this process. An unknown
 * user number has no groups.
 */
export function setGroupsOf(user: number): void {
  const group = process.getegid?.() ?? 0;
  const entry = libc().getpwuid(user);
  if (entry === null) {
    checked("setgroups", libc().setgroups(1, Uint32Array.of(group)));
  } else {
    const name = read.ptr(entry, offsetOf.passwd.pw_name) as Pointer;
    checked("initgroups", libc().initgroups(name, group));
  }
}

/** The TCP port of the service with this name. */
export function portNamed(service: string): number | undefined {
  const entry = libc().getservbyname(cString(service), "tcp");
  if (entry === null) return undefined;
  // The low half of an int, big-endian.
  const at = offsetOf.servent.s_port;
  return read.u8(entry, at) * 256 + read.u8(entry, at + 1);
}

/** Remove a variable, also for C modules and the programs they start; `delete process.env` does not affect these. */
export function unsetVariable(name: string): void {
  delete process.env[name];
  libc().unsetenv(name);
}

/** openlog(3) keeps the address of this text. */
let identity = cBytes("");

/** Open the system log under this name, also for C modules. The result logs an error there: syslog(3). */
export function openSystemLog(name: string): (message: string) => void {
  identity = cBytes(name);
  libc().openlog(ptr(identity), LOG_PID, LOG_DAEMON);
  return (message) => libc().syslog(LOG_DAEMON | LOG_ERR, "%s", cString(message));
}

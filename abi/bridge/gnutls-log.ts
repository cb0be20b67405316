/** Prints GnuTLS's own log as debug lines: -D nbdkit.tls.log=N. */
import { ConfigError } from "#api";
import { cBytes } from "#sys/text";
import { libraryName } from "#sys/tls/library";
import { nameLogLines } from "#sys/tls/log";

import { openRuntime } from "../runtime/native-runtime.ts";

/**
 * Print GnuTLS's log up to this level, for all users of GnuTLS in this process, including C modules. This needs the
 * native runtime, since GnuTLS may log on any thread. Throws ConfigError.
 */
export function logGnutls(level: number): void {
  const runtime = openRuntime();
  runtime.rt_set_verbose(1);
  if (runtime.rt_gnutls_log(cBytes(libraryName), level) !== 0) {
    throw new ConfigError(`-D nbdkit.tls.log=${level}: ${libraryName} cannot be asked to log`);
  }
  nameLogLines((name) => runtime.rt_set_log_name(name));
}

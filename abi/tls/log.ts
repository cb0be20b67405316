/** What GnuTLS itself has to say, as debug lines: -D nbdkit.tls.log=N. */
import { ConfigError } from "#api";

import { type Native, openRuntime } from "../native-runtime.ts";
import { cBytes } from "../text.ts";
import { libraryName } from "./library.ts";

let native: Native | undefined;

/**
 * Print what GnuTLS logs up to this level, for all that use it in this process, C modules too. It needs the native
 * runtime, since GnuTLS may log on any thread. Throws ConfigError.
 */
export function logGnutls(level: number): void {
  const runtime = openRuntime();
  runtime.rt_set_verbose(1);
  if (runtime.rt_gnutls_log(cBytes(libraryName), level) !== 0) {
    throw new ConfigError(`-D nbdkit.tls.log=${level}: ${libraryName} cannot be asked to log`);
  }
  native = runtime;
}

/** Whose session it is that GnuTLS is called for next on this thread, as a C string; null: nobody's any more. */
export function logFor(name: Uint8Array | null): void {
  native?.rt_set_log_name(name);
}

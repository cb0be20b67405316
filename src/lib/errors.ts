/** The two errors that layers throw. */
import { type Errno, errnoName, errnos, isErrno } from "./errno.ts";
import { messageOf, shown } from "./thrown.ts";

/**
 * A request failed, and the client should get the reason.
 *
 * Anything else that a layer throws is a bug in that layer: the chain logs its
 * stack once and the client sees EIO.
 *
 * The message goes to the server's log. Clients get the errno, as far as the protocol has it: EPERM, EIO,
 * ENOMEM, EINVAL, ENOSPC and ESHUTDOWN, and EOPNOTSUPP for fast zero; EINVAL stands for all others.
 *
 * @example
 * throw new NbdError("ENOSPC", `write of ${buf.length} bytes at ${offset}: the quota of ${quota} is used up`);
 */
export class NbdError extends Error {
  override readonly name = "NbdError";
  readonly errno: Errno;
  /** If the message is empty: the text that a C layer has already logged, for the client. */
  readonly reported: string;

  constructor(
    errno: Errno,
    message: string,
    options?: ErrorOptions & { readonly reported?: string },
  ) {
    super(message, options);
    // No compiler checks modules that are written in JavaScript, and Bun does not check those in TypeScript.
    if (!isErrno(errno)) {
      const value = shown(errno);
      throw new TypeError(
        `NbdError: ${value} is not an error number: expected a name such as "EIO": ${message}`,
      );
    }
    this.errno = errno;
    this.reported = options?.reported ?? "";
  }

  /** The number that C sees in errno. */
  get number(): number {
    return errnos[this.errno];
  }

  /**
   * Convert an error of node:fs, keeping its errno: `opening x.img: No such file or directory`. Adds the path of the
   * error to `what`, unless `what` contains it.
   */
  static from(error: unknown, what: string): NbdError {
    if (error instanceof NbdError) return error;
    const { code, errno, path } = error as { code?: unknown; errno?: unknown; path?: unknown };
    const name =
      typeof code === "string" && isErrno(code)
        ? code
        : errnoName(typeof errno === "number" ? Math.abs(errno) : errnos.EIO);
    // Bun damages paths that are not UTF-8.
    const isMissing = typeof path === "string" && !path.includes("\ufffd") && !what.includes(path);
    const where = isMissing ? `${what}: ${path}` : what;
    return new NbdError(name, `${where}: ${messageOf(error)}`, { cause: error });
  }
}

/**
 * The command line, or a file that it names, is invalid. The server prints the message and exits with status 1.
 *
 * @example
 * throw new ConfigError(`zone=${zone}: expected a time zone such as Europe/Oslo`);
 */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

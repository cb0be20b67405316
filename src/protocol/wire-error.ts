/** Converts Linux's error numbers to the few that the protocol has. */
import { type Errno, errnos, isErrno } from "../lib/errno.ts";
import { namedMessage } from "../lib/speaker.ts";
import { CMD_FLAG_DF, CMD_FLAG_FAST_ZERO } from "./constants.ts";

const direct = new Map<number, number>([
  [errnos.EPERM, errnos.EPERM],
  [errnos.EROFS, errnos.EPERM],
  [errnos.EIO, errnos.EIO],
  [errnos.ENOMEM, errnos.ENOMEM],
  [errnos.EDQUOT, errnos.ENOSPC],
  [errnos.EFBIG, errnos.ENOSPC],
  [errnos.ENOSPC, errnos.ENOSPC],
  [errnos.ESHUTDOWN, errnos.ESHUTDOWN],
]);

/** The error number for the reply to a request with these flags. EINVAL stands for errors that the protocol lacks. */
export function wireError(errno: Errno, requestFlags: number): number {
  const number = errnos[errno];
  if (number === errnos.EOPNOTSUPP && requestFlags & CMD_FLAG_FAST_ZERO) return number;
  if (number === errnos.EOVERFLOW && requestFlags & CMD_FLAG_DF) return number;
  return direct.get(number) ?? errnos.EINVAL;
}

export interface Failure {
  readonly errno: Errno;
  /** The message to log. Empty if it was logged before. */
  readonly message: string;
  /** The message for the client. */
  readonly text: string;
}

/** Describe what a layer threw: an NbdError has an errno, everything else becomes EIO. */
export function failure(error: unknown): Failure {
  if (typeof error !== "object" || error === null) {
    return { errno: "EIO", message: String(error), text: String(error) };
  }
  const errno = "errno" in error && typeof error.errno === "string" ? error.errno : "";
  const message = "message" in error && typeof error.message === "string" ? error.message : "";
  const reported = "reported" in error && typeof error.reported === "string" ? error.reported : "";
  return {
    errno: isErrno(errno) ? errno : "EIO",
    message: error instanceof Error ? namedMessage(error) : message,
    text: message || reported,
  };
}

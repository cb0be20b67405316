/** The few error numbers that the protocol knows, and which of Linux's becomes which. */
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

/** The error number in the reply to a request with these flags. Clients know EINVAL where no other fits. */
export function wireError(errno: Errno, requestFlags: number): number {
  const number = errnos[errno];
  if (number === errnos.EOPNOTSUPP && requestFlags & CMD_FLAG_FAST_ZERO) return number;
  if (number === errnos.EOVERFLOW && requestFlags & CMD_FLAG_DF) return number;
  return direct.get(number) ?? errnos.EINVAL;
}

export interface Failure {
  readonly errno: Errno;
  /** What has to be logged; empty where that has been done. */
  readonly message: string;
  /** What the client is told. */
  readonly told: string;
}

/** What a layer's failure says: the chain throws NbdError, which carries an errno, and EIO stands for all else. */
export function failure(error: unknown): Failure {
  if (typeof error !== "object" || error === null) {
    return { errno: "EIO", message: String(error), told: String(error) };
  }
  const errno = "errno" in error && typeof error.errno === "string" ? error.errno : "";
  const message = "message" in error && typeof error.message === "string" ? error.message : "";
  const reported = "reported" in error && typeof error.reported === "string" ? error.reported : "";
  return {
    errno: isErrno(errno) ? errno : "EIO",
    message: error instanceof Error ? namedMessage(error) : message,
    told: message || reported,
  };
}

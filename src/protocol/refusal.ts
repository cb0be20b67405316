/** Checks requests by the rules of the protocol. */
import type { Errno } from "../lib/errno.ts";
import {
  CMD_BLOCK_STATUS,
  CMD_CACHE,
  CMD_FLAG_DF,
  CMD_FLAG_FAST_ZERO,
  CMD_FLAG_FUA,
  CMD_FLAG_NO_HOLE,
  CMD_FLAG_REQ_ONE,
  CMD_FLUSH,
  CMD_READ,
  CMD_TRIM,
  CMD_WRITE,
  CMD_WRITE_ZEROES,
  commandName,
  EFLAG_READ_ONLY,
  EFLAG_SEND_CACHE,
  EFLAG_SEND_FAST_ZERO,
  EFLAG_SEND_FLUSH,
  EFLAG_SEND_FUA,
  EFLAG_SEND_TRIM,
  EFLAG_SEND_WRITE_ZEROES,
  MAX_REQUEST_BYTES,
} from "./constants.ts";
import type { ExportFacts } from "./export-flags.ts";
import type { RequestHeader } from "./request-header.ts";

/** What the checks depend on: the export, and what was negotiated. */
export interface Terms extends ExportFacts {
  /** Structured replies were negotiated. */
  readonly structured: boolean;
  /** The metadata context `base:allocation` was negotiated, so the client may request block status. */
  readonly allocation: boolean;
}

export interface Refusal {
  readonly errno: Errno;
  readonly message: string;
  /** The first byte beyond the export, if the request's range crosses its end. */
  readonly at?: bigint;
}

const knownFlags =
  CMD_FLAG_FUA | CMD_FLAG_NO_HOLE | CMD_FLAG_DF | CMD_FLAG_REQ_ONE | CMD_FLAG_FAST_ZERO;

/** Commands that the export must offer, and the flag that offers each. */
const announced = new Map<number, number>([
  [CMD_FLUSH, EFLAG_SEND_FLUSH],
  [CMD_TRIM, EFLAG_SEND_TRIM],
  [CMD_WRITE_ZEROES, EFLAG_SEND_WRITE_ZEROES],
  [CMD_CACHE, EFLAG_SEND_CACHE],
]);

/** Commands that may fail with NBD_REPLY_TYPE_ERROR_OFFSET. */
const locatable: ReadonlySet<number> = new Set([CMD_READ, CMD_WRITE, CMD_TRIM]);

/**
 * Return why the request is refused, or undefined. `fits`: the range is known to be within the export. The order of the
 * checks decides which error the client sees; it is nbdkit's.
 */
export function refusalOf(
  request: RequestHeader,
  facts: Terms,
  fits: boolean,
): Refusal | undefined {
  return (
    checkCommand(request, facts) ??
    (fits ? undefined : checkRange(request, facts)) ??
    checkFlags(request, facts) ??
    checkSize(request) ??
    checkAnnounced(request, facts)
  );
}

function refuse(request: RequestHeader, errno: Errno, why: string): Refusal {
  return { errno, message: `invalid request: ${commandName(request.type)}: ${why}` };
}

function checkCommand(request: RequestHeader, { eflags }: Terms): Refusal | undefined {
  const { type, offset, count } = request;
  switch (type) {
    case CMD_WRITE:
    case CMD_TRIM:
    case CMD_WRITE_ZEROES:
      return eflags & EFLAG_READ_ONLY
        ? refuse(request, "EROFS", "the export is read-only")
        : undefined;
    case CMD_READ:
    case CMD_CACHE:
    case CMD_BLOCK_STATUS:
      return undefined;
    case CMD_FLUSH:
      if (offset === 0n && count === 0) return undefined;
      return refuse(request, "EINVAL", `expected offset and count 0, got ${offset} and ${count}`);
    default:
      return refuse(request, "EINVAL", "no such command");
  }
}

function checkRange(request: RequestHeader, { size }: Terms): Refusal | undefined {
  const { type, offset, count } = request;
  if (type === CMD_FLUSH || (count > 0 && offset + BigInt(count) <= size)) return undefined;
  const errno = type === CMD_WRITE || type === CMD_WRITE_ZEROES ? "ENOSPC" : "EINVAL";
  const what = `offset ${offset} and count ${count} are out of range`;
  const refusal = refuse(request, errno, `${what}: the size is ${size} and count must not be 0`);
  const crosses = offset < size && count > 0;
  return crosses && locatable.has(type) ? { ...refusal, at: size } : refusal;
}

function checkFlags(request: RequestHeader, { eflags, structured }: Terms): Refusal | undefined {
  const { type, flags } = request;
  if (flags === 0) return undefined;
  if (flags & ~knownFlags) {
    return refuse(request, "EINVAL", `unknown flags 0x${(flags & ~knownFlags).toString(16)}`);
  }
  if (flags & CMD_FLAG_NO_HOLE && type !== CMD_WRITE_ZEROES) {
    return refuse(request, "EINVAL", "NO_HOLE needs NBD_CMD_WRITE_ZEROES");
  }
  if (flags & CMD_FLAG_DF) {
    if (type !== CMD_READ) return refuse(request, "EINVAL", "DF needs NBD_CMD_READ");
    if (!structured) {
      return refuse(request, "EINVAL", "DF needs structured replies, which were not negotiated");
    }
  }
  if (flags & CMD_FLAG_REQ_ONE && type !== CMD_BLOCK_STATUS) {
    return refuse(request, "EINVAL", "REQ_ONE needs NBD_CMD_BLOCK_STATUS");
  }
  if (flags & CMD_FLAG_FAST_ZERO) {
    if (type !== CMD_WRITE_ZEROES) {
      return refuse(request, "EINVAL", "FAST_ZERO needs NBD_CMD_WRITE_ZEROES");
    }
    if ((eflags & EFLAG_SEND_FAST_ZERO) === 0) {
      return refuse(request, "EINVAL", "FAST_ZERO was not offered");
    }
  }
  if (flags & CMD_FLAG_FUA && (eflags & EFLAG_SEND_FUA) === 0) {
    return refuse(request, "EINVAL", "FUA was not offered");
  }
  return undefined;
}

function checkSize(request: RequestHeader): Refusal | undefined {
  const { type, count } = request;
  if ((type !== CMD_READ && type !== CMD_WRITE) || count <= MAX_REQUEST_BYTES) return undefined;
  return refuse(request, "ENOMEM", `count ${count} is more than ${MAX_REQUEST_BYTES}`);
}

function checkAnnounced(
  request: RequestHeader,
  { allocation, eflags }: Terms,
): Refusal | undefined {
  const { type } = request;
  if (type === CMD_BLOCK_STATUS && !allocation) {
    return refuse(request, "EINVAL", "no metadata context was negotiated");
  }
  const flag = announced.get(type);
  if (flag === undefined || eflags & flag) return undefined;
  return refuse(request, "EINVAL", "the command was not offered");
}
